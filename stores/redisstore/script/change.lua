if mode == RESET then
  for i = 1, ops do
    call('DEL', KEYS[i])
  end
  return pack('<dd', FREE, now)
end

if mode == RENEW or mode == HOLDS then
  local all = true
  for i = 1, ops do
    local _, _, _, _, period = op(i)
    all = logRenew(i, period, false) and all
  end
  if corrupt or far then
    return fault()
  end
  if all and mode == RENEW then
    for i = 1, ops do
      local _, _, _, _, period = op(i)
      logRenew(i, period, true)
    end
  end
  return pack('<dd', all and SPENT or REFUSED, now)
end

-- refunded returns what the cell becomes when a cost is given back that was to
-- be paid at until; nothing when it stays as it is.
local function refunded(i, value, cost, till, rest, from, algorithm, count, period, quota, fill)
  local was, used, part, expires = read(i, value)
  if now >= expires then
    return value and 0, 0, 0, 0
  end
  local at = now
  if was > at then
    at = was
  end
  if cost <= 0 or at >= till then
    return
  end
  local left, before = used, part
  if algorithm == TOKENS then
    local overdrawn = used < 0
    if overdrawn then
      used = -used
    end
    local unpaid = till - at
    if unpaid > fill then
      unpaid = fill
    end
    local units, parts = muldiv(unpaid, count, period)
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
    if used == 0 and part == 0 then
      return 0, 0, 0, 0
    end
  else
    if algorithm == SLIDING then
      local passed = (till - till % period) / period - 2 - (was - was % period) / period
      if passed == 0 then
        used = used > cost and used - cost or 0
      elseif passed == -1 then
        part = part > cost and part - cost or 0
      end
      if used == 0 and part == 0 then
        return 0, 0, 0, 0
      end
    elseif part <= from then
      used = used > cost and used - cost or 0
      if used == 0 then
        return 0, 0, 0, 0
      end
    end
  end
  if used ~= left or part ~= before then
    return was, used, part, expires
  end
end

-- The rest are CHARGE, SETTLE and RELEASE: all reads and checks, then all writes.
local cells, outcomes, latest, spent = {}, {}, now + hold, false
if mode == SETTLE then
  for i = 1, ops do
    local _, till = unpack('<dd', ARGV[1], first + (i - 1) * width + 64)
    if till > latest then
      latest = till
    end
  end
  if latest <= now or call('EXISTS', KEYS[ops + 1]) == 1 then
    return pack('<dd', FREE, now)
  end
end
for i = 1, ops do
  local algorithm, _, cost, count, period, quota, fill, most = op(i)
  if algorithm == LOG or algorithm == LEASES then
    log(i) -- sees that it is one
    if mode == CHARGE and cost > 0 then
      local _, _, reset = logTake(i, 0, period, quota)
      local _, _, _, _, at = log(i)
      if at + period - now > reset then
        reset = at + period - now
      end
      outcomes[i] = pack('<dddd', 0, 0, reset, 0)
      if at + period >= EXACT then
        far = i
      end
    end
  else
    local value = call('GET', KEYS[i])
    local actual, till, rest, from = cost, 0, 0, 0
    if mode == SETTLE then
      actual, till, rest, from = unpack('<dddd', ARGV[1], first + (i - 1) * width + 64)
      cost = actual - cost
    end
    if cost > 0 then
      local at, used, part, expires, reset, over = charge(i, value, cost, algorithm, count, period, quota, fill, most)
      cells[i] = {at, used, part, expires}
      outcomes[i] = pack('<dddd', 0, 0, reset, over)
    elseif mode == SETTLE then
      local at, used, part, expires = refunded(i, value, -cost, till, rest, from, algorithm, count, period, quota, fill)
      if at then
        cells[i] = {at, used, part, expires}
      end
    end
  end
  outcomes[i] = outcomes[i] or pack('<dddd', 0, 0, 0, 0)
end
if outside or corrupt or far then
  return fault()
end
for i = 1, ops do
  local algorithm, _, cost, _, period = op(i)
  local c = cells[i]
  if algorithm == LOG or algorithm == LEASES then
    if mode ~= CHARGE then
      logSettle(i, mode == SETTLE and unpack('<d', ARGV[1], first + (i - 1) * width + 64) or 0)
    elseif cost > 0 then
      logCharge(i, cost, period)
      spent = true
    end
  elseif c then
    spent = true
    if c[4] == 0 then
      call('DEL', KEYS[i])
    else
      write(i, c[1], c[2], c[3], c[4])
    end
  end
end
if mode == SETTLE then
  if clock < 0 then
    call('SET', KEYS[ops + 1], '', 'PXAT', floor(latest / 1000) + 1)
  else
    call('SET', KEYS[ops + 1], '', 'PX', floor((latest - now) / 1000) + 1 + slack)
  end
end
return pack('<ddd', spent and SPENT or FREE, now, 0) .. table.concat(outcomes)
