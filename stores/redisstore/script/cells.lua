-- Cells: what ratelimit.Rule computes, in its words.

-- refilled returns the time in which used + part/period units come back, rounded
-- up, and by how many 1/count parts it was rounded.
local function refilled(used, part, count, period)
  local q, r
  local p = used * period + part
  if p < 9007199254740992 then
    r = p % count
    q = (p - r) / count
  else
    q, r = muldiv(used, period, count)
    local more = part % count
    q = q + (part - more) / count
    if r >= count - more then
      q, r = q + 1, r - (count - more)
    else
      r = r + more
    end
  end
  if r > 0 then
    return q + 1, count - r
  end
  return q, 0
end

-- take tells what a cost would get of the entry at a place of a value: no fault,
-- remaining, from when on it passes (-1e300 for now, 1e300 for never), when all is
-- free, rest, and when it passes the cell to keep. With force it passes. From and
-- to are the window of a calendar.
local function take(value, place, name, cost, force, now, algorithm, count, period, quota, fill, most, from, to)
  local was, used, part, expires = now, 0, 0, now
  if value then
    if #value == 0 then
      return 4 -- CORRUPT
    end
    local known
    known, was, used, part, expires = struct.unpack('<c12dddd', value, place)
    if known ~= name then
      return 6 -- OTHER
    elseif was % 1 ~= 0 or used % 1 ~= 0 or part % 1 ~= 0 or expires % 1 ~= 0
      or part < -9007199254740992 or expires < was or used > 9007199254740992 or used < -9007199254740992 then
      return 4
    end
    if now >= expires then
      was, used, part, expires = now, 0, 0, now
    end
  end
  local at = now
  if was > at then
    at = was
  end
  local remaining, retry, reset, rest = 0, 0, 0, 0
  if algorithm == 0 then -- TOKENS
    -- What is left of the debt.
    if part >= period then
      part = 0
      used = used < 0 and used - 1 or used + 1
    end
    local elapsed, owes = at - was, false
    if used < 0 then
      used = -used
      if used >= most then
        used, part = most, 0
      end
      owes = elapsed < refilled(used, part, count, period)
    else
      if used >= quota then
        used, part = quota, 0
      end
      owes = elapsed < fill
    end
    if not owes then
      used, part = 0, 0
    elseif elapsed > 0 and used + part > 0 then
      local whole, back
      local p = elapsed * count
      if p < 9007199254740992 then
        back = p % period
        whole = (p - back) / period
      else
        whole, back = muldiv(elapsed, count, period)
      end
      used, part = used - whole, part - back
      if part < 0 then
        used, part = used - 1, part + period
      end
      if used < 0 then
        used, part = 0, 0
      end
    end
    local free = quota - used
    if force then
      if cost >= most - used then
        used, part = most, 0
      else
        used = used + cost
      end
    elseif cost > quota then
      retry = -1
    elseif cost > 0 and (cost > free or cost == free and part > 0) then
      retry = refilled(cost - free, part, count, period)
    else
      used, free = used + cost, free - cost
    end
    if part > 0 then
      free = free - 1
    end
    if free > 0 then
      remaining = free
    end
    reset, rest = refilled(used, part, count, period)
    if used > quota or used == quota and part > 0 then
      used = -used
    end
  elseif algorithm == 2 then -- SLIDING
    local into = (at + 9007199254740992) % period
    local passed = (at - into) - (was - (was + 9007199254740992) % period)
    if passed == period then
      used, part = 0, used
    elseif passed ~= 0 then
      used, part = 0, 0
    end
    local cur = used > quota and quota or used
    local prev = part > quota and quota or part
    local left = period - into
    local weight, over = muldiv(prev, left, period)
    if over > 0 then
      weight = weight + 1
    end
    if force then
      used = cost > 9007199254740992 - used and 9007199254740992 or used + cost
      cur = used
    elseif cost > quota then
      retry = -1
    elseif cost == 0 or cost <= quota - cur - weight then
      cur = cur + cost
      used = cur
    elseif cost <= quota - cur then
      retry = left - muldiv(quota - cur - cost, period, prev)
    else
      retry = left + period - muldiv(quota - cost, period, cur)
    end
    if quota - cur > weight then
      remaining = quota - cur - weight
    end
    if cur > 0 then
      reset = left + period
    elseif prev > 0 then
      reset = left
    end
  else
    if algorithm == 1 then -- FIXED
      from = at - (at + 9007199254740992) % period
      to = from + period
    elseif at < from or at >= to then
      return 3, at -- WINDOWS
    end
    if used <= 0 or was < from then
      used, part = 0, from
    end
    local cur = used > quota and quota or used
    if force then
      used = cost > 9007199254740992 - used and 9007199254740992 or used + cost
      cur = used
    elseif cost > quota then
      retry = -1
    elseif cost > quota - cur then
      retry = to - at
    else
      cur = cur + cost
      used = cur
    end
    if quota > cur then
      remaining = quota - cur
    end
    if cur > 0 then
      reset = to - at
    end
  end
  if retry == 0 and cost > 0 then
    if at + reset >= 9007199254740992 then
      return 5 -- FAR
    end
    return nil, remaining, -1e300, at + reset, rest, at, used, part
  end
  reset = reset > 0 and at + reset or now
  if retry > 0 then
    retry = at + retry
  else
    retry = retry < 0 and 1e300 or -1e300
  end
  if reset > expires then -- written under a faster limit, it is forgotten first
    reset, rest = expires, 0
    if retry > expires and retry < 1e300 then
      retry = expires
    end
  end
  return nil, remaining, retry, reset, rest
end

-- write keeps a value until it expires.
local function write(key, value, expires, now, slack)
  if slack < 0 then -- 2^53 microseconds are 9007199254741 milliseconds, rounded up
    redis.call('SET', key, value, 'PXAT', math.floor(expires / 1000) + 9007199254742)
  else
    redis.call('SET', key, value, 'PX', math.floor((expires - now) / 1000) + 1 + slack)
  end
end
