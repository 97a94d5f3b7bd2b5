-- One decision of a rate limiter, as one atomic step. Seven files are one script:
-- numbers, request, cells, values, logs, decide, change.
--
-- Numbers are whole, below 2^53, and doubles hold them exactly. None is ever
-- turned into text by Lua, which would keep 14 digits.
--
-- A server makes every function anew for every call of the script, and every
-- local variable that a function reaches costs as much again: so there are few
-- functions, they take what they need as arguments, and what not every call
-- needs is made where it is.

-- muldiv returns the quotient of a*b by c, rounded down, and the remainder. The
-- quotient must be below 2^53.
local function muldiv(a, b, c)
  local p = a * b
  if p < 9007199254740992 then -- 2^53
    local r = p % c
    return (p - r) / c, r
  end
  if c >= 2251799813685248 then -- 2^51: bit by bit, so that no sum exceeds c
    local step = a % c
    local q, r, whole, bit = 0, 0, (a - step) / c * b, 9007199254740992
    while bit >= 1 do
      q = q + q
      if r >= c - r then
        q, r = q + 1, r - (c - r)
      else
        r = r + r
      end
      if b >= bit then
        b = b - bit
        if r >= c - step then
          q, r = q + 1, r - (c - step)
        else
          r = r + step
        end
      end
      bit = bit / 2
    end
    return whole + q, r
  end
  -- The product is p + e exactly, and so is the estimate of the quotient times
  -- c: Dekker, "A floating-point technique for extending the available
  -- precision", 1971. The estimate is off by 2 at most.
  local t = a * 134217729
  local ah = t - (t - a)
  local al = a - ah
  t = b * 134217729
  local bh = t - (t - b)
  local bl = b - bh
  local e = al * bl - (((p - ah * bh) - al * bh) - ah * bl)
  local q = math.floor(p / c)
  local s = q * c
  t = q * 134217729
  ah = t - (t - q)
  al = q - ah
  t = c * 134217729
  bh = t - (t - c)
  bl = c - bh
  local r = (p - s) + (e - (al * bl - (((s - ah * bh) - al * bh) - ah * bl)))
  while r < 0 do
    q, r = q - 1, r + c
  end
  while r >= c do
    q, r = q + 1, r - c
  end
  return q, r
end
