-- What is asked: the mode, the caller's time or -1 for the server's, how much
-- longer than needed keys live, for how long a settlement is remembered, how
-- many bytes an op has, whether an op keeps a log, and the ID. Then the ops:
-- algorithm, shadow, cost, count, period, quota, fill, most; for a settlement
-- actual, until, rest and the start of the window of until; and if one is a
-- calendar, the bounds of a window.
local arg = ARGV[1]
local mode, clock, slack, hold, width, logged, id, first = struct.unpack('<ddddddc16', arg)
local TAKE, UPTO, PEEK, CHARGE, SETTLE, RENEW, RELEASE, RESET, HOLDS = 0, 1, 2, 3, 4, 5, 6, 7, 8
local TOKENS, FIXED, SLIDING, LOG, CALENDAR, LEASES = 0, 1, 2, 3, 4, 5
local now = clock
if clock < 0 then
  local t = redis.call('TIME')
  now = t[1] * 1000000 + t[2]
end

-- What is answered first. Three are faults, for which nothing is decided: a
-- window that was not given, a key that holds something else, a time that ends
-- after 2^53.
local REFUSED, SPENT, FREE, WINDOWS, CORRUPT, FAR = 0, 1, 2, 3, 4, 5
