-- A key is claimed, "c1767225600000125 1767225690000125 2 first token print", or
-- done, "d1767225600000125 token print answer". A claim may be taken over from the
-- first instant on, in microseconds, and is over at the second; the number is how
-- often it was taken over. Tokens and prints are hexadecimal. From the instant at
-- which it is over on a key is free, be it still there or not. What is asked: c, f
-- or a for claim, finish or abandon, the token, and how many microseconds the lease
-- and the keeping last, with the print or the answer behind.
local key, call = KEYS[1], redis.call
local verb, token, lease, keep, at = ARGV[1]:match('^([cfa])(%x+) (%d+) (%d+) ()')
local rest = ARGV[1]:sub(at)
local time = call('TIME')
local now = time[1] * 1000000 + time[2]

local hex = ('%x'):rep(32)
local kind, till, ends, turn, first, holder, print, answer
local value = call('GET', key)
if value then
  kind = value:sub(1, 1)
  if kind == 'c' then
    till, ends, turn, first, holder, print = value:match('^c(%d+) (%d+) (%d+) (' .. hex .. ') (' .. hex .. ') (' .. hex .. hex .. ')$')
  elseif kind == 'd' then
    ends, holder, print, answer = value:match('^d(%d+) (' .. hex .. ') (' .. hex .. hex .. ') ()')
  end
  if not ends then
    return 'corrupt'
  end
  if tonumber(ends) <= now then
    kind = nil
  end
end

-- The server drops a key a millisecond later than needed, never earlier. One that
-- is full refuses to set anything, but in the place of what was deleted just now.
local function put(what, ends, replaces)
  if replaces then
    call('DEL', key)
  end
  call('SET', key, what, 'PX', string.format('%.0f', math.ceil((ends - now) / 1000) + 1))
end

if verb == 'c' then
  if not kind then
    first, turn = token, 0
  elseif print ~= rest then
    return 'mismatch'
  elseif kind == 'd' then
    return 'done ' .. value:sub(answer)
  elseif holder ~= token then
    if tonumber(till) > now then
      return string.format('running %.0f', till - now)
    end
    turn = turn + 1
  end
  till = now + lease
  ends = till + keep
  put(string.format('c%.0f %.0f %.0f %s %s %s', till, ends, turn, first, token, rest), ends, kind)
  return string.format('claimed %.0f %s', turn, first)
elseif verb == 'f' then
  if not kind or holder ~= token then
    return 'lost'
  elseif kind == 'c' then
    ends = now + keep
    -- A short answer is about as long as the claim.
    put(string.format('d%.0f %s %s ', ends, token, print) .. rest, ends, #rest <= 64)
  end
elseif verb == 'a' then
  if kind == 'c' and holder == token then
    call('DEL', key)
  end
else
  return 'unknown'
end
return 'ok'
