-- The most common request, without the detour over tables.
if mode == TAKE and #KEYS == 1 and logged == 0 then
  local algorithm, shadow, cost, count, period, quota, fill, most, pos = struct.unpack('<dddddddd', arg, first)
  local from, to = 0, 0
  if algorithm == CALENDAR then
    from, to = struct.unpack('<dd', arg, pos)
  end
  local fault, remaining, retry, reset, rest, at, used, part =
    take(redis.call('GET', KEYS[1]), cost, false, now, algorithm, count, period, quota, fill, most, from, to)
  if fault then
    return struct.pack('<ddd', fault, now, remaining or 1)
  end
  if at then
    write(KEYS[1], struct.pack('<Bdddd', 1, at, used, part, reset), reset, now, slack)
    return struct.pack('<ddddddd', SPENT, now, cost, remaining, retry, reset, rest)
  end
  return struct.pack('<ddddddd', (retry == -1e300 or shadow == 1) and FREE or REFUSED, now, cost, remaining, retry, reset, rest)
end

local ops = #KEYS
if mode == SETTLE then
  ops = ops - 1 -- the last key remembers the ID
end

-- faulty answers why nothing was decided: for windows with the times for which
-- the caller has to give others, infinite where the one given is right. Faults has the
-- reason and the time by op.
local function faulty(faults, ops, now)
  local all = {struct.pack('<dd', 3, now)}
  for i = 1, ops do
    local fault = faults[i]
    if fault and fault[1] ~= 3 then
      return struct.pack('<dd', fault[1], i)
    end
    all[i + 1] = struct.pack('<d', fault and fault[2] or math.huge)
  end
  return table.concat(all)
end

if mode <= PEEK then
  local faults
  local most, allowed, spent = 0, true, false
  local outcomes = {'', '', '', ''} -- a table that need not grow for so many
  local cells = {false, false, false, false}
  local ends = {false, false, false, false}
  -- A round decides about each op: at first, to take up to a cost, about a cost
  -- of 0, then about the cost, and at last about 0 again for those costs that
  -- pass and are not taken.
  for round = mode == UPTO and 0 or 1, 2 do
    local from = first
    for i = 1, ops do
      local algorithm, shadow, cost, count, period, quota, fill, owed, pos = struct.unpack('<dddddddd', arg, from)
      from = from + width
      local skip = false
      if mode == UPTO then
        if round == 0 and i == 1 then
          most = cost
        end
        cost = most
      end
      if round == 0 then
        cost, skip = 0, shadow == 1
      elseif round == 2 then
        cost, skip = 0, not ends[i]
      end
      if not skip then
        local fault, remaining, retry, reset, rest, at, used, part
        if algorithm == LOG or algorithm == LEASES then
          fault, remaining, retry, reset, rest = logTake(KEYS[i], cost, period, quota)
        else
          local since, to = 0, 0
          if algorithm == CALENDAR then
            since, to = struct.unpack('<dd', arg, pos)
          end
          fault, remaining, retry, reset, rest, at, used, part =
            take(redis.call('GET', KEYS[i]), cost, false, now, algorithm, count, period, quota, fill, owed, since, to)
        end
        if fault then
          faults = faults or {}
          faults[i] = {fault, remaining}
        elseif round == 0 then
          most = math.min(most, math.max(remaining, 1))
        else
          outcomes[i] = struct.pack('<dddd', remaining, retry, reset, rest)
          if round == 1 and retry ~= -1e300 then
            allowed = allowed and shadow == 1
          elseif round == 1 and cost > 0 then
            spent = true
            ends[i] = reset
            cells[i] = at and struct.pack('<Bdddd', 1, at, used, part, reset)
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
    for i = 1, ops do
      if cells[i] then
        write(KEYS[i], cells[i], ends[i], now, slack)
      elseif ends[i] then
        local _, _, cost, _, period = struct.unpack('<ddddd', arg, first + (i - 1) * width)
        logCharge(KEYS[i], mode == UPTO and most or cost, period)
      end
    end
  end
  return struct.pack('<ddd', status, now, most) .. table.concat(outcomes)
end
