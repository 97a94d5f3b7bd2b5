-- opOf returns the algorithm, the key, the period and the name of the i-th op.
local function opOf(i)
  local algorithm, key, _, _, period, _, _, _, name = parse('<ddddddddc12', arg, first + (i - 1) * width)
  return algorithm, math.abs(key), period, name
end

if mode == RESET then -- also of what nobody can read
  for i = 1, ops do
    local algorithm, key, _, name = opOf(i)
    local value
    if algorithm ~= LOG and algorithm ~= LEASES then
      if values[key] == nil and type(redis.pcall('GET', KEYS[key])) == 'table' then
        values[key] = ''
      end
      value = find(i, key, name)
    end
    if value and #value > 0 then
      entries[i], ends[i] = '', now
    elseif value or algorithm == LOG or algorithm == LEASES then
      redis.call('DEL', KEYS[key])
      values[key] = nil
    end
  end
  local become, till = change()
  if become then
    keep(become, till)
  else
    redis.call('DEL', unpack(KEYS))
  end
  return pack('<dd', FREE, now)
end

local faults
local function failed(i, fault, at)
  faults = faults or {}
  faults[i] = {fault, at}
end

if mode == RENEW or mode == HOLDS then
  local all = true
  for i = 1, ops do
    local _, key, period = opOf(i)
    local why, holds = logRenew(KEYS[key], period, false)
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
      local _, key, period = opOf(i)
      logRenew(KEYS[key], period, true)
    end
  end
  return pack('<dd', all and SPENT or REFUSED, now)
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
if mode == SETTLE and (latest <= now or redis.call('EXISTS', KEYS[#KEYS]) == 1) then
  return pack('<dd', FREE, now)
end
local outcomes = {}
for i = 1, ops do
  local algorithm, key, cost, count, period, quota, fill, most, name, pos = parse('<ddddddddc12', arg, first + (i - 1) * width)
  key = math.abs(key)
  local more, due, rest, since, reset, over = cost, 0, 0, 0, 0, 0
  if mode == SETTLE then
    more, due, rest, since, pos = parse('<dddd', arg, pos)
    more = more - cost
  end
  if algorithm == LOG or algorithm == LEASES then
    local why, _, _, _, last, at = log(KEYS[key])
    if why then
      failed(i, why)
    else
      reset = math.max(last, at + period)
      if reset >= EXACT and mode ~= RELEASE then
        failed(i, FAR)
      end
    end
  else
    local value, place = find(i, key, name)
    local from, to = 0, 0
    if algorithm == CALENDAR then
      from, to = parse('<dd', arg, pos)
    end
    if more > 0 then
      local why, where, _, used, part, at
      why, where, _, reset, over, at, used, part =
        take(value, place, name, math.min(more, EXACT), true, now, algorithm, count, period, quota, fill, most, from, to)
      if why then
        failed(i, why, where)
      else
        entries[i], ends[i] = pack('<c12dddd', name, at, used, part, reset), reset
      end
    elseif value and mode == SETTLE then
      local why = take(value, place, name, 0, false, now, FIXED, count, period, quota, fill, most) -- whether it is a cell
      if why then
        failed(i, why)
      else
        local at, used, part, expires = parse('<dddd', value, place + 12)
        if now < expires then
          used, part = refunded(at, used, part, -more, due, rest, since, algorithm, count, period, fill)
        else
          used, part = 0, 0
        end
        if used then
          entries[i] = (used ~= 0 or part ~= 0) and pack('<c12dddd', name, at, used, part, expires) or ''
          ends[i] = expires
        end
      end
    end
  end
  outcomes[i] = pack('<dddd', 0, -1e300, reset or 0, over or 0)
end
if faults then
  return faulty(faults, ops, now)
end
local become, till = change()
if not become then
  return pack('<dd', CORRUPT, now)
end
keep(become, till)
local spent = next(become) ~= nil
for i = 1, ops do
  local algorithm, key, cost, _, period, _, _, _, _, pos = parse('<ddddddddc12', arg, first + (i - 1) * width)
  if algorithm == LOG or algorithm == LEASES then
    key = KEYS[math.abs(key)]
    if mode == SETTLE then
      logSettle(key, cost, parse('<d', arg, pos), algorithm, period)
    elseif mode == RELEASE then
      logSettle(key, 0, 0, algorithm, period)
    elseif cost > 0 then
      logCharge(key, cost, period)
      spent = true
    end
  end
end
if mode == SETTLE then
  write(KEYS[#KEYS], '', latest, now, slack)
end
return pack('<ddd', spent and SPENT or FREE, now, 0) .. table.concat(outcomes)
