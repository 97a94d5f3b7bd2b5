if mode == RESET then
  for i = 1, ops do
    redis.call('DEL', KEYS[i])
  end
  return struct.pack('<dd', FREE, now)
end

-- periodOf returns the period of the i-th op.
local function periodOf(i)
  return struct.unpack('<d', arg, first + (i - 1) * width + 32)
end

local faults
local function failed(i, fault, at)
  faults = faults or {}
  faults[i] = {fault, at}
end

if mode == RENEW or mode == HOLDS then
  local all = true
  for i = 1, ops do
    local why, holds = logRenew(KEYS[i], periodOf(i), false)
    if why then
      failed(i, why)
    end
    all = all and holds
  end
  if faults then
    return faulty(faults, ops, now)
  end
  if all and mode == RENEW then
    for i = 1, ops do
      logRenew(KEYS[i], periodOf(i), true)
    end
  end
  return struct.pack('<dd', all and SPENT or REFUSED, now)
end

-- refunded returns what a cell becomes when a cost is given back that was to be
-- paid at till, and was taken in the window since; nothing when it stays as it is.
local function refunded(was, used, part, cost, till, rest, since, algorithm, count, period, fill)
  local at = now
  if was > at then
    at = was
  end
  if cost <= 0 or at >= till then
    return
  end
  if algorithm == TOKENS then
    local overdrawn = used < 0
    if overdrawn then
      used = -used
    end
    local units, parts = muldiv(math.min(till - at, fill), count, period)
    local over = rest % period
    units, parts = units - (rest - over) / period, parts - over
    if parts < 0 then
      units, parts = units - 1, parts + period
    end
    if units >= cost or units < 0 then
      units, parts = cost, 0
    end
    used, part = used - units, part - parts
    if part < 0 then
      used, part = used - 1, part + period
    end
    if used < 0 then
      used, part = 0, 0
    end
    if overdrawn then
      used = -used
    end
  elseif algorithm == SLIDING then
    local later = was - (was + 9007199254740992) % period - since
    if later == 0 then
      used = math.max(used - cost, 0)
    elseif later == period then
      part = math.max(part - cost, 0)
    end
  elseif part <= since then
    used = math.max(used - cost, 0)
    if used == 0 then
      return 0, 0
    end
  end
  return used, part
end

-- The rest are CHARGE, SETTLE and RELEASE: all reads and checks, then all writes.
local latest = math.max(now + hold, till) -- until then a settlement is remembered
if mode == SETTLE and (latest <= now or redis.call('EXISTS', KEYS[ops + 1]) == 1) then
  return struct.pack('<dd', FREE, now)
end
local outcomes, cells, spent = {}, {}, false
for i = 1, ops do
  local algorithm, _, cost, count, period, quota, fill, most, pos = struct.unpack('<dddddddd', arg, first + (i - 1) * width)
  local more, due, rest, since, reset, over = cost, 0, 0, 0, 0, 0
  if mode == SETTLE then
    more, due, rest, since, pos = struct.unpack('<dddd', arg, pos)
    more = more - cost
  end
  if algorithm == LOG or algorithm == LEASES then
    local why, _, _, _, last, at = log(KEYS[i])
    if why then
      failed(i, why)
    else
      reset = math.max(last, at + period)
      if reset >= EXACT and mode ~= RELEASE then
        failed(i, FAR)
      end
    end
  else
    local value, from, to = redis.call('GET', KEYS[i]), 0, 0
    if algorithm == CALENDAR then
      from, to = struct.unpack('<dd', arg, pos)
    end
    if more > 0 then
      local why, where, _, used, part, at
      why, where, _, reset, over, at, used, part =
        take(value, math.min(more, EXACT), true, now, algorithm, count, period, quota, fill, most, from, to)
      if why then
        failed(i, why, where)
      else
        cells[i] = {at, used, part, reset}
      end
    elseif value and mode == SETTLE then
      local why = take(value, 0, false, now, FIXED, count, period, quota, fill, most) -- whether it is a cell
      if why then
        failed(i, why)
      else
        local _, at, used, part, expires = struct.unpack('<Bdddd', value)
        if now >= expires then
          cells[i] = {}
        else
          used, part = refunded(at, used, part, -more, due, rest, since, algorithm, count, period, fill)
          if used then
            cells[i] = {at, used, part, (used ~= 0 or part ~= 0) and expires}
          end
        end
      end
    end
  end
  outcomes[i] = struct.pack('<dddd', 0, -1e300, reset or 0, over or 0)
end
if faults then
  return faulty(faults, ops, now)
end
for i = 1, ops do
  local algorithm, _, cost, _, period, _, _, _, pos = struct.unpack('<dddddddd', arg, first + (i - 1) * width)
  local c = cells[i]
  if algorithm == LOG or algorithm == LEASES then
    if mode == SETTLE then
      logSettle(KEYS[i], cost, struct.unpack('<d', arg, pos), algorithm, period)
    elseif mode == RELEASE then
      logSettle(KEYS[i], 0, 0, algorithm, period)
    elseif cost > 0 then
      logCharge(KEYS[i], cost, period)
      spent = true
    end
  elseif c then
    spent = true
    if c[4] then
      write(KEYS[i], struct.pack('<Bdddd', 1, c[1], c[2], c[3], c[4]), c[4], now, slack)
    else
      redis.call('DEL', KEYS[i])
    end
  end
end
if mode == SETTLE then
  write(KEYS[ops + 1], '', latest, now, slack)
end
return struct.pack('<ddd', spent and SPENT or FREE, now, 0) .. table.concat(outcomes)
