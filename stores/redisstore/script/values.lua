-- Values: all cells of a subject are one string of entries, 44 bytes each: the 12
-- that name the limit, then the cell as four doubles.

local values = {} -- by key, false where there is none and empty where it is another's

-- The most common requests, without the detour over tables: at first about a
-- limit that is alone in its value.
local value, size -- of the only key
if mode == TAKE and #KEYS == 1 and logged == 0 then
  value = call('GET', KEYS[1])
  size = value and #value or 44 * ops
  if size == 44 and ops == 1 then
    local algorithm, which, cost, count, period, quota, fill, most, name, pos = parse('<ddddddddc12', arg, first)
    local from, to = 0, 0
    if algorithm == CALENDAR then
      from, to = parse('<dd', arg, pos)
    end
    local fault, remaining, retry, reset, rest, at, used, part =
      take(value, 1, name, cost, false, now, algorithm, count, period, quota, fill, most, from, to)
    if at then
      write(KEYS[1], pack('<c12dddd', name, at, used, part, reset), reset, now, slack)
      return pack('<ddddddd', SPENT, now, cost, remaining, retry, reset, rest)
    elseif not fault then
      return pack('<ddddddd', (retry == -1e300 or which < 0) and FREE or REFUSED, now, cost, remaining, retry, reset, rest)
    elseif fault ~= OTHER then
      return pack('<ddd', fault, now, remaining or 1)
    end
  end
  values[1] = value and (size % 44 == 0 and value or '')
end

-- Then about several limits, or one of several, that follow each other in the
-- value. What is rare about them is left to the rest.
local start = size and 1
if value and size > 44 and size % 44 == 0 then
  start = string.find(value, parse('<c12', arg, first + 64), 1, true)
end
if start and start % 44 == 1 and start + 44 * ops - 1 <= size then
  local outcomes, denied = {'', '', '', ''}, nil -- a table that need not grow for so many
  for round = 1, 2 do -- the second tells, after a refusal, of those that pass
    local from, place, become, till = first, start, '', 0
    for i = 1, ops do
      local algorithm, which, cost, count, period, quota, fill, most, name, pos = parse('<ddddddddc12', arg, from)
      local since, to = 0, 0
      if algorithm == CALENDAR then
        since, to = parse('<dd', arg, pos)
      end
      if round == 1 or not denied[i] then
        local fault, remaining, retry, reset, rest, at, used, part =
          take(values[1], place, name, round == 1 and cost or 0, false, now, algorithm, count, period, quota, fill, most, since, to)
        if at then
          become = become .. pack('<c12dddd', name, at, used, part, reset)
          till = i > 1 and till > reset and till or reset
        elseif round == 1 and (fault or retry == -1e300 or which < 0) then
          start = nil
          break
        elseif round == 1 then
          denied = denied or {}
          denied[i] = true
        end
        outcomes[i] = pack('<dddd', remaining, retry, reset, rest)
      end
      from, place = from + width, place + 44
    end
    if round == 2 then
      return pack('<ddd', REFUSED, now, 0) .. table.concat(outcomes)
    elseif not start then
      break
    elseif not denied then
      local over = false
      if size > #become then
        for p = 1, size, 44 do -- what others have stays, and goes when it is over
          if p < start or p >= place then
            local expires = parse('<d', value, p + 36)
            over = over or expires % 1 ~= 0 or expires > 9007199254740992 or expires <= now
            till = expires > till and expires or till
          end
        end
        become = string.sub(value, 1, start - 1) .. become .. string.sub(value, place)
      end
      if over then
        break
      end
      write(KEYS[1], become, till, now, slack)
      return pack('<ddd', SPENT, now, 0) .. table.concat(outcomes)
    end
  end
end

local hold, till, id = parse('<ddc16', arg, rare)

-- By op: which key it is about, where in its value its entry is, what that
-- becomes, and when that one is over. The tables need not grow for four.
local keys, places = {0, 0, 0, 0}, {false, false, false, false}
local entries, ends = {false, false, false, false}, {false, false, false, false}

-- find returns the value of the i-th op's key, and where in it the entry of a
-- name is; no place when it has none, and an empty value when it is another's.
local function find(i, key, name)
  local value, place, hint = values[key], false, 1
  if value == nil then
    value = call('GET', KEYS[key])
    if value and #value % 44 ~= 0 then
      value = ''
    end
    values[key] = value
  elseif keys[i - 1] == key and places[i - 1] then
    hint = places[i - 1] + 44
  end
  keys[i] = key
  if not value then
    return
  end
  if string.find(value, name, hint, true) == hint then
    place = hint
  else
    for p = 1, #value, 44 do
      local known, was, used, part, expires = parse('<c12dddd', value, p)
      if not string.find('bfscBFSC', string.sub(known, 1, 1), 1, true)
        or was % 1 ~= 0 or used % 1 ~= 0 or part % 1 ~= 0 or expires % 1 ~= 0 then
        return ''
      end
      if known == name then
        place = p
      end
    end
  end
  places[i] = place
  return (place or #value == 0) and value, place
end

-- change returns what keys become, and until when they are kept, when each entry
-- is put in the place of the one before; an empty one only removes that. The
-- others stay as they are, and go when they are over. It returns nothing when a
-- value is another's.
local function change()
  local become, till, had = {}, {}, {}
  for i = 1, ops do
    local entry, key = entries[i], keys[i]
    if entry then
      if not become[key] then
        become[key], till[key], had[key] = entry, ends[i], places[i] and 44 or 0
      else
        become[key] = become[key] .. entry
        till[key] = math.max(till[key], ends[i])
        had[key] = had[key] + (places[i] and 44 or 0)
      end
    end
  end
  local over = now - math.max(slack, 0) * 1000
  for key, new in pairs(become) do
    local value = values[key]
    if value and #value > had[key] then
      local replaced, kept = {}, {}
      for i = 1, ops do
        if keys[i] == key and entries[i] and places[i] then
          replaced[places[i]] = true
        end
      end
      for p = 1, #value, 44 do
        local expires = parse('<d', value, p + 36)
        if expires % 1 ~= 0 or expires > 9007199254740992 then
          return
        end
        if expires > over and not replaced[p] then
          kept[#kept + 1] = string.sub(value, p, p + 43)
          till[key] = math.max(till[key], expires)
        end
      end
      become[key] = table.concat(kept) .. new
    end
  end
  return become, till
end

-- keep writes what keys become.
local function keep(become, till)
  for key, value in pairs(become) do
    if value == '' then
      call('DEL', KEYS[key])
    else
      write(KEYS[key], value, till[key], now, slack)
    end
  end
end
