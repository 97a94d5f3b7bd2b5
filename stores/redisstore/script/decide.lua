-- fault says why nothing was decided: for windows, with the time that each op
-- decides at, for which the caller has to give one.
local function fault()
  if corrupt then
    return pack('<dd', CORRUPT, corrupt)
  elseif far then
    return pack('<dd', FAR, far)
  end
  local at = {pack('<dd', WINDOWS, now)}
  for i = 1, ops do
    local t = now
    if op(i) == CALENDAR then
      local was, _, _, expires = read(i, call('GET', KEYS[i]))
      if now < expires and was > now then
        t = was
      end
    end
    at[i + 1] = pack('<d', t)
  end
  return table.concat(at)
end

if mode <= PEEK then
  local allowed, spent, most = true, false, EXACT
  local values, outcomes, cells = {}, {}, {}
  local function decide(i, cost)
    local algorithm, _, _, count, period, quota, fill, owed = op(i)
    if algorithm == LOG or algorithm == LEASES then
      return logTake(i, cost, period, quota)
    end
    local value = values[i]
    if value == nil then
      value = call('GET', KEYS[i])
      values[i] = value
    end
    return take(i, value, cost, algorithm, count, period, quota, fill, owed)
  end
  if mode == UPTO then
    local _, _, cost = op(1)
    most = cost
    for i = 1, ops do
      local _, shadow = op(i)
      if shadow == 0 then
        local remaining = decide(i, 0)
        if remaining < 1 then
          remaining = 1
        end
        if remaining < most then
          most = remaining
        end
      end
    end
  end
  for i = 1, ops do
    local _, shadow, cost = op(i)
    if mode == UPTO then
      cost = most
    end
    local remaining, retry, reset, rest, at, used, part = decide(i, cost)
    outcomes[i] = pack('<dddd', remaining, retry, reset, rest)
    if retry ~= 0 then
      if shadow == 0 then
        allowed = false
      end
    elseif cost > 0 then
      spent = true
      cells[i] = at and {at, used, part, now + reset} or cost
    end
  end
  if outside or corrupt or far then
    return fault()
  end
  if allowed and spent and mode ~= PEEK then
    for i, c in pairs(cells) do
      if type(c) == 'table' then
        write(i, c[1], c[2], c[3], c[4])
      else
        local _, _, _, _, period = op(i)
        logCharge(i, c, period)
      end
    end
    return pack('<ddd', SPENT, now, most) .. table.concat(outcomes)
  end
  for i in pairs(cells) do
    outcomes[i] = pack('<dddd', decide(i, 0))
  end
  return pack('<ddd', allowed and FREE or REFUSED, now, most) .. table.concat(outcomes)
end
