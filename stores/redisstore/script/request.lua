-- Times are microseconds since 2^53 after the Unix epoch, which is in the year
-- 2255: so are those before exact, and sums with two of the longest periods.

-- What is asked: the mode, the caller's time, how many milliseconds longer than
-- needed keys live or -1 where the server's time decides, how many bytes an op has,
-- whether an op keeps a log, and what few requests need: for how long and until
-- when a settlement is remembered, and the ID. Then the ops: algorithm, which key it is about, negative for a
-- shadow, cost, count, period, quota, fill, most, and by what name it is entered;
-- for a settlement actual, until, rest and the start of the window that the cost
-- was taken in; and if one is a calendar, the bounds of a window.
local pack, parse, call = struct.pack, struct.unpack, redis.call
local arg = ARGV[1]
local mode, now, slack, width, logged, rare = parse('<ddddd', arg)
local first = rare + 32
local ops = (#arg + 1 - first) / width
local TAKE, UPTO, PEEK, CHARGE, SETTLE, RENEW, RELEASE, RESET, HOLDS = 0, 1, 2, 3, 4, 5, 6, 7, 8
local TOKENS, FIXED, SLIDING, LOG, CALENDAR, LEASES = 0, 1, 2, 3, 4, 5
if slack < 0 then
  local t = call('TIME')
  now = t[1] * 1000000 + t[2] - 9007199254740992
end

-- What is answered first. Three are faults, for which nothing is decided: a
-- window that was not given, a key that holds something else, a time that ends
-- after the year 2540.
local REFUSED, SPENT, FREE, WINDOWS, CORRUPT, FAR = 0, 1, 2, 3, 4, 5
local OTHER = 6 -- never an answer: the entry is another limit's
