-- Cells: what ratelimit.Rule computes, in its words.

local TOKENS, FIXED, SLIDING, LOG, CALENDAR, LEASES = 0, 1, 2, 3, 4, 5

-- op returns the i-th op: algorithm, shadow, cost, count, period, quota, fill,
-- most; then actual, until, rest and the start of the window of until for a
-- settlement; then the bounds of a window for a calendar.
local function op(i)
  return unpack('<dddddddd', ARGV[1], first + (i - 1) * width)
end

-- read returns the cell in a key's value, the zero one when it is absent.
local function read(i, value)
  if not value then
    return 0, 0, 0, 0
  end
  if #value == 33 then
    local version, at, used, part, expires = unpack('<Bdddd', value)
    if version == 1 and at % 1 == 0 and used % 1 == 0 and part % 1 == 0 and expires % 1 == 0
      and at >= 0 and part >= 0 and expires >= at and expires < EXACT and used <= EXACT and used >= -EXACT then
      return at, used, part, expires
    end
  end
  corrupt = i
  return 0, 0, 0, 0
end

local function write(i, at, used, part, expires)
  if clock < 0 then
    call('SET', KEYS[i], pack('<Bdddd', 1, at, used, part, expires), 'PXAT', floor(expires / 1000) + 1)
  else
    call('SET', KEYS[i], pack('<Bdddd', 1, at, used, part, expires), 'PX', floor((expires - now) / 1000) + 1 + slack)
  end
end

-- refilled returns the time in which used + part/period units come back, rounded
-- up, and by how many 1/count parts it was rounded.
local function refilled(used, part, count, period)
  local q, r
  local p = used * period + part
  if p < EXACT then
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

-- debt returns what is left of a bucket's debt after a time.
local function debt(used, part, elapsed, count, period, quota, fill, most)
  if part >= period then
    part = 0
    if used < 0 then
      used = used - 1
    else
      used = used + 1
    end
  end
  if used < 0 then
    used = -used
    if used >= most then
      used, part = most, 0
    end
    if elapsed >= refilled(used, part, count, period) then
      return 0, 0
    end
  else
    if used >= quota then
      used, part = quota, 0
    end
    if elapsed >= fill or used == 0 and part == 0 then
      return 0, 0
    end
  end
  if elapsed == 0 then
    return used, part
  end
  local whole, rest = muldiv(elapsed, count, period)
  used, part = used - whole, part - rest
  if part < 0 then
    used, part = used - 1, part + period
  end
  if used < 0 then
    return 0, 0
  end
  return used, part
end

-- window returns the bounds of the window of a fixed window or a calendar.
local function window(i, algorithm, period, at)
  if algorithm == FIXED then
    local from = at - at % period
    return from, from + period
  end
  local from, to = unpack('<dd', ARGV[1], first + i * width - 16)
  if at < from or at >= to then
    outside = true
    return at, at + 1
  end
  return from, to
end

-- rolled returns what a cell holds of the window of at and of the one before.
local function rolled(used, part, was, at, period)
  local passed = (at - at % period) - (was - was % period)
  if passed == 0 then
    return used, part
  elseif passed == period then
    return 0, used
  end
  return 0, 0
end

-- take tells what a cost would get of the value of the i-th key: remaining,
-- retry, reset, rest, and the cell to keep.
local function take(i, value, cost, algorithm, count, period, quota, fill, most)
  local was, used, part, expires = read(i, value)
  if now >= expires then
    was, used, part, expires = 0, 0, 0, 0
  end
  local at = now
  if was > at then
    at = was
  end
  local remaining, retry, reset, rest = 0, 0, 0, 0
  if algorithm == TOKENS then
    used, part = debt(used, part, at - was, count, period, quota, fill, most)
    local free = quota - used
    if cost > quota then
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
  elseif algorithm == SLIDING then
    local before
    used, before = rolled(used, part, was, at, period)
    part = before
    local cur, prev = used, before
    if cur > quota then
      cur = quota
    end
    if prev > quota then
      prev = quota
    end
    local left = period - at % period
    local weight, over = muldiv(prev, left, period)
    if over > 0 then
      weight = weight + 1
    end
    if cost > quota then
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
    local from, to = window(i, algorithm, period, at)
    if used > 0 and was >= from then
      if used > quota then
        used = quota
      end
    else
      used, part = 0, from
    end
    if cost > quota then
      retry = -1
    elseif cost > quota - used then
      retry = to - at
    else
      used = used + cost
    end
    remaining = quota - used
    if used > 0 then
      reset = to - at
    end
  end
  if at > now then
    if retry > 0 then
      retry = retry + (at - now)
    end
    if reset > 0 then
      reset = reset + (at - now)
    end
  end
  if retry == 0 and cost > 0 then
    if now + reset >= EXACT then
      far = i
    end
    return remaining, retry, reset, rest, at, used, part
  end
  local left = expires - now
  if left < 0 then
    left = 0
  end
  if reset > left then
    reset, rest = left, 0
    if retry > left then
      retry = left
    end
  end
  return remaining, retry, reset, rest
end

-- charge takes a cost whether it passes or not, and returns the cell to keep,
-- and reset and rest.
local function charge(i, value, cost, algorithm, count, period, quota, fill, most)
  local was, used, part, expires = read(i, value)
  if now >= expires then
    was, used, part = 0, 0, 0
  end
  if cost > EXACT then
    cost = EXACT
  end
  local at = now
  if was > at then
    at = was
  end
  local reset, rest = 0, 0
  if algorithm == TOKENS then
    used, part = debt(used, part, at - was, count, period, quota, fill, most)
    if cost >= most - used then
      used, part = most, 0
    else
      used = used + cost
    end
    reset, rest = refilled(used, part, count, period)
    if used > quota or used == quota and part > 0 then
      used = -used
    end
  else
    if algorithm == SLIDING then
      used, part = rolled(used, part, was, at, period)
      reset = 2 * period - at % period
    else
      local from, to = window(i, algorithm, period, at)
      if used <= 0 or was < from then
        used, part = 0, from
      end
      reset = to - at
    end
    if cost > EXACT - used then
      used = EXACT
    else
      used = used + cost
    end
  end
  if at + reset >= EXACT then
    far = i
  end
  return at, used, part, at + reset, reset + (at - now), rest
end
