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
    write(KEYS[1], at, used, part, now + reset, clock, now, slack)
    return struct.pack('<ddddddd', SPENT, now, cost, remaining, retry, reset, rest)
  end
  return struct.pack('<ddddddd', (retry == 0 or shadow == 1) and FREE or REFUSED, now, cost, remaining, retry, reset, rest)
end

local ops = #KEYS
if mode == SETTLE then
  ops = ops - 1 -- the last key remembers the ID
end

-- faulty answers why nothing was decided: for windows with the times for which
-- the caller has to give others, -1 where the one given is right.
local fault, culprit, times
local function failed(why, i, at)
  if why == WINDOWS then
    times = times or {}
    times[i] = at
  elseif not fault then
    fault, culprit = why, i
  end
end
local function faulty()
  if fault then
    return struct.pack('<dd', fault, culprit)
  end
  local all = {struct.pack('<dd', WINDOWS, now)}
  for i = 1, ops do
    all[i + 1] = struct.pack('<d', times[i] or -1)
  end
  return table.concat(all)
end

if mode <= PEEK then
  local values, outcomes, cells, entries = {}, {}, {}, {}
  local most, allowed, spent = 0, true, false
  -- A round decides about each op: at first, to take up to a cost, about a cost
  -- of 0, then about the cost, and at last about 0 again for those costs that
  -- pass and are not taken.
  for round = mode == UPTO and 0 or 1, 2 do
    for i = 1, ops do
      local algorithm, shadow, cost, count, period, quota, fill, owed, pos = struct.unpack('<dddddddd', arg, first + (i - 1) * width)
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
        cost, skip = 0, not (cells[i] or entries[i])
      end
      if not skip then
        local why, remaining, retry, reset, rest, at, used, part
        if algorithm == LOG or algorithm == LEASES then
          why, remaining, retry, reset = logTake(KEYS[i], cost, period, quota)
          rest = 0
        else
          local value, from, to = values[i], 0, 0
          if value == nil then
            value = redis.call('GET', KEYS[i])
            values[i] = value
          end
          if algorithm == CALENDAR then
            from, to = struct.unpack('<dd', arg, pos)
          end
          why, remaining, retry, reset, rest, at, used, part =
            take(value, cost, false, now, algorithm, count, period, quota, fill, owed, from, to)
        end
        if why then
          failed(why, i, remaining)
        elseif round == 0 then
          most = math.min(most, math.max(remaining, 1))
        else
          outcomes[i] = struct.pack('<dddd', remaining, retry, reset, rest)
          if round == 1 and retry ~= 0 then
            allowed = allowed and shadow == 1
          elseif round == 1 and cost > 0 then
            spent = true
            if at then
              cells[i] = {at, used, part, now + reset}
            else
              entries[i] = {cost, period}
            end
          end
        end
      end
    end
    if fault or times then
      return faulty()
    end
    if round == 1 and allowed and mode ~= PEEK then
      break
    end
  end
  local status = allowed and FREE or REFUSED
  if allowed and spent and mode ~= PEEK then
    status = SPENT
    for i, c in pairs(cells) do
      write(KEYS[i], c[1], c[2], c[3], c[4], clock, now, slack)
    end
    for i, e in pairs(entries) do
      logCharge(KEYS[i], e[1], e[2])
    end
  end
  return struct.pack('<ddd', status, now, most) .. table.concat(outcomes)
end
