-- faulty answers why nothing was decided: for windows with the times for which
-- the caller has to give others, infinite where the one given is right. Faults has the
-- reason and the time by op.
local function faulty(faults, ops, now)
  local all = {pack('<dd', 3, now)}
  for i = 1, ops do
    local fault = faults[i]
    if fault and fault[1] ~= 3 then
      return pack('<dd', fault[1], i)
    end
    all[i + 1] = pack('<d', fault and fault[2] or math.huge)
  end
  return table.concat(all)
end

if mode <= PEEK then
  local faults
  local most, allowed, spent = 0, true, false
  local outcomes = {'', '', '', ''} -- a table that need not grow for so many
  -- A round decides about each op: at first, to take up to a cost, about a cost
  -- of 0, then about the cost, and at last about 0 again for those costs that
  -- pass and are not taken.
  for round = mode == UPTO and 0 or 1, 2 do
    local from = first
    for i = 1, ops do
      local algorithm, key, cost, count, period, quota, fill, owed, name, pos = parse('<ddddddddc12', arg, from)
      from = from + width
      local shadow, skip = key < 0, false
      if shadow then
        key = -key
      end
      if mode == UPTO then
        if round == 0 and i == 1 then
          most = cost
        end
        cost = most
      end
      if round == 0 then
        cost, skip = 0, shadow
      elseif round == 2 then
        cost, skip = 0, not ends[i]
      end
      if not skip then
        local fault, remaining, retry, reset, rest, at, used, part
        if algorithm == LOG or algorithm == LEASES then
          fault, remaining, retry, reset, rest = logTake(KEYS[key], cost, period, quota)
        else
          local since, to = 0, 0
          if algorithm == CALENDAR then
            since, to = parse('<dd', arg, pos)
          end
          local value, place = find(i, key, name)
          fault, remaining, retry, reset, rest, at, used, part =
            take(value, place, name, cost, false, now, algorithm, count, period, quota, fill, owed, since, to)
        end
        if fault then
          faults = faults or {}
          faults[i] = {fault, remaining}
        elseif round == 0 then
          most = math.min(most, math.max(remaining, 1))
        else
          outcomes[i] = pack('<dddd', remaining, retry, reset, rest)
          if round == 1 and retry ~= -1e300 then
            allowed = allowed and shadow
          elseif round == 1 and cost > 0 then
            spent = true
            ends[i] = reset
            entries[i] = at and pack('<c12dddd', name, at, used, part, reset)
          end
        end
      end
    end
    if faults then
      return faulty(faults, ops, now)
    end
    if round == 1 and allowed and mode ~= PEEK then
      break
    end
  end
  local status = allowed and FREE or REFUSED
  if allowed and spent and mode ~= PEEK then
    status = SPENT
    local become, till = change()
    if not become then
      return pack('<dd', CORRUPT, now)
    end
    keep(become, till)
    if logged > 0 then
      for i = 1, ops do
        if ends[i] and not entries[i] then
          local _, key, cost, _, period = parse('<ddddd', arg, first + (i - 1) * width)
          logCharge(KEYS[math.abs(key)], mode == UPTO and most or cost, period)
        end
      end
    end
  end
  return pack('<ddd', status, now, most) .. table.concat(outcomes)
end
