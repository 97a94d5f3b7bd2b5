-- A key is in flight, "f1767225600000.125 owner", or done, "d1767225600000.125",
-- until an instant in milliseconds; from that instant on it is free, be it still
-- there or not. What is asked: c, d or r for claim, done or release, how many
-- milliseconds, and the owner.
local key, call = KEYS[1], redis.call
local verb, length, owner = ARGV[1]:match('^([cdr])(%d+) (.*)$')
local time = call('TIME')
local now = time[1] * 1000 + time[2] / 1000

local kind, till, holder
local value = call('GET', key)
if value then
  kind, till, holder = value:match('^([fd])(%d+%.%d%d%d)(.*)$')
  if not kind or (kind == 'd') ~= (holder == '') then
    return 'corrupt'
  end
  till = tonumber(till)
  if till <= now then
    kind = nil
  end
end
local mine = kind == 'f' and holder == ' ' .. owner

-- The server drops a key a millisecond later than needed, never earlier.
local function put(what, till)
  call('SET', key, what, 'PX', string.format('%.0f', math.ceil(till - now) + 1))
end

if verb == 'c' then
  if kind == 'd' then
    return 'done'
  elseif kind and not mine then
    return 'flight'
  end
  till = now + length
  put(string.format('f%.3f ', till) .. owner, till)
  return 'granted'
elseif verb == 'd' then
  local later = now + length
  if kind == 'd' and till > later then
    later = till
  end
  put(string.format('d%.3f', later), later)
elseif verb == 'r' then
  if mine then
    call('DEL', key)
  end
else
  return 'unknown'
end
return 'ok'
