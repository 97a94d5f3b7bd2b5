-- One decision of a rate limiter, as one atomic step. Five files are one script:
-- numbers, cells, logs, decide, change.
--
-- Numbers are whole, below 2^53, and doubles hold them exactly. None is ever
-- turned into text by Lua, which would keep 14 digits.

local call, pack, unpack = redis.call, struct.pack, struct.unpack
local floor = math.floor
local EXACT = 9007199254740992 -- 2^53

-- muldiv returns the quotient of a*b by c, rounded down, and the remainder. The
-- quotient must be below 2^53.
local function muldiv(a, b, c)
  local p = a * b
  if p < EXACT then
    local r = p % c
    return (p - r) / c, r
  end
  if c >= 2251799813685248 then -- 2^51: bit by bit, so that no sum exceeds c
    local step = a % c
    local q, r, whole, bit = 0, 0, (a - step) / c * b, EXACT
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
  local q = floor(p / c)
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

-- What is asked: the mode, the caller's time or -1 for the server's, how much
-- longer than needed keys live, for how long a settlement is remembered, how
-- many bytes an op has, whether an op keeps a log, and the ID.
local TAKE, UPTO, PEEK, CHARGE, SETTLE, RENEW, RELEASE, RESET, HOLDS = 0, 1, 2, 3, 4, 5, 6, 7, 8
local mode, clock, slack, hold, width, logged, id, first = unpack('<ddddddc16', ARGV[1])
local ops = #KEYS
if mode == SETTLE then
  ops = ops - 1 -- the last key remembers the ID
end
local now = clock
if clock < 0 then
  local t = call('TIME')
  now = t[1] * 1000000 + t[2]
end

-- What is answered first.
local REFUSED, SPENT, FREE, WINDOWS, CORRUPT, FAR = 0, 1, 2, 3, 4, 5
local outside, corrupt, far -- a window that was not given, an op whose key holds something else, whose time ends after 2^53
