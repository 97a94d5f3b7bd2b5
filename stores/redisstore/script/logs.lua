-- Logs: a sorted set of IDs by the time at which they stop to count, so that no
-- decision reads more than what it drops or waits for. The members before them
-- hold the rest as numbers times -2^60, which is far below any time: 'a' the
-- latest time seen, 's' the sum of all units, 'u' how many IDs have not one unit,
-- and 'u' with an ID its units.

local log, logTake, logCharge, logSettle, logRenew
local EXACT = 9007199254740992 -- 2^53
if logged > 0 then
  local function units(key, of)
    local u = redis.call('ZSCORE', key, 'u' .. of)
    return u and u / -1152921504606846976 or 1
  end

  local function setUnits(key, of, n)
    redis.call('ZADD', key, n * -1152921504606846976, 'u' .. of)
  end

  local function live(key, till) -- lives as long as its last entry
    if slack < 0 then
      redis.call('PEXPIREAT', key, math.floor(till / 1000) + 9007199254742)
    else
      redis.call('PEXPIRE', key, math.floor((till - now) / 1000) + 1 + slack)
    end
  end

  local function note(key, seen, sum, uneven)
    local scale = -1152921504606846976
    redis.call('ZADD', key, (seen + 9007199254740992) * scale, 'a', sum * scale, 's', (uneven + 1) * scale, 'u')
  end

  -- log returns no fault, the latest time seen, the sum and the number of uneven,
  -- the latest end, the time that it decides at, how many entries are over by
  -- then, and the units of the others.
  log = function(key)
    local has = redis.call('ZMSCORE', key, 'a', 's', 'u')
    if not (has[1] and has[2] and has[3]) then
      if redis.call('EXISTS', key) == 1 then
        return CORRUPT
      end
      return nil, now, 0, 0, now, now, 0, 0
    end
    local scale = -1152921504606846976
    local seen, sum, uneven = has[1] / scale - 9007199254740992, has[2] / scale, has[3] / scale - 1
    local last = tonumber(redis.call('ZRANGE', key, -1, -1, 'WITHSCORES')[2])
    if seen < -9007199254740992 or sum < 1 or uneven < 0 or last < -9007199254740992 then
      return CORRUPT
    end
    local at = now
    if seen > at and now < last then
      at = seen
    end
    local over, used = redis.call('ZCOUNT', key, -1e17, at), sum
    if over > 0 then
      if uneven == 0 then
        used = sum - over
      else
        for _, of in ipairs(redis.call('ZRANGEBYSCORE', key, -1e17, at)) do
          used = used - units(key, of)
        end
      end
    end
    return nil, seen, sum, uneven, last, at, over, used
  end

  -- frees returns the time by which so many units are free again.
  local function frees(key, need, uneven, at, over)
    if uneven == 0 then
      local rank = 2 + over + need
      return tonumber(redis.call('ZRANGE', key, rank, rank, 'WITHSCORES')[2])
    end
    local skip = 0
    while true do
      local some = redis.call('ZRANGEBYSCORE', key, at + 1, '+inf', 'WITHSCORES', 'LIMIT', skip, 100)
      for k = 1, #some, 2 do
        need = need - units(key, some[k])
        if need <= 0 then
          return tonumber(some[k + 1])
        end
      end
      if #some == 0 then
        return at + 1
      end
      skip = skip + 100
    end
  end

  -- logTake tells what take tells.
  logTake = function(key, cost, period, quota)
    local fault, _, _, uneven, last, at, over, used = log(key)
    if fault then
      return fault
    end
    local remaining, retry, reset = 0, -1e300, now
    if cost > quota then
      retry = 1e300
    elseif cost > 0 and cost > quota - used then
      retry = frees(key, cost - (quota - used), uneven, at, over)
    else
      used = used + cost
    end
    if quota > used then
      remaining = quota - used
    end
    if last > at then
      reset = last
    end
    if retry == -1e300 and cost > 0 then
      reset = math.max(reset, at + period)
      if reset >= EXACT then
        return FAR
      end
    end
    return nil, remaining, retry, reset, 0
  end

  -- logCharge drops what is over and enters the cost; a delivery that is
  -- repeated enters it once.
  logCharge = function(key, cost, period)
    local _, _, _, uneven, last, at, over, used = log(key)
    if over > 0 then
      if uneven > 0 then
        for _, of in ipairs(redis.call('ZRANGEBYSCORE', key, -1e17, at)) do
          uneven = uneven - redis.call('ZREM', key, 'u' .. of)
        end
      end
      redis.call('ZREMRANGEBYSCORE', key, -1e17, at)
    end
    if cost > EXACT - used then
      cost = EXACT - used
    end
    if cost > 0 and redis.call('ZADD', key, 'NX', at + period, id) == 1 then
      used = used + cost
      if cost ~= 1 then
        setUnits(key, id, cost)
        uneven = uneven + 1
      end
      if at + period > last then
        last = at + period
      end
    end
    note(key, at, used, uneven)
    live(key, last)
  end

  -- logSettle brings the entry to actual; what actual exceeds the cost by is
  -- charged when the entry is over, but never to a lease.
  logSettle = function(key, cost, actual, algorithm, period)
    local _, seen, sum, uneven, _, at = log(key)
    local till = redis.call('ZSCORE', key, id)
    if not till or tonumber(till) <= at then
      if actual > cost and algorithm == LOG then
        logCharge(key, actual - cost, period)
      end
      return
    end
    local had = units(key, id)
    if actual > had + EXACT - sum then
      actual = had + EXACT - sum
    end
    if actual == had then
      return
    end
    if had ~= 1 then
      redis.call('ZREM', key, 'u' .. id)
      uneven = uneven - 1
    end
    if actual <= 0 then
      redis.call('ZREM', key, id)
    elseif actual ~= 1 then
      setUnits(key, id, actual)
      uneven = uneven + 1
    end
    sum = sum - had + actual
    if sum == 0 then
      redis.call('DEL', key)
    else
      note(key, seen, sum, uneven)
    end
  end

  -- logRenew tells no fault and whether the lease counts, and may renew it.
  logRenew = function(key, period, act)
    local fault, _, sum, uneven, last, at = log(key)
    if fault then
      return fault
    end
    local till = redis.call('ZSCORE', key, id)
    till = till and tonumber(till) or at
    if till <= at then
      return nil, false
    end
    if at + period > till then
      till = at + period
    end
    if till >= EXACT then
      return FAR
    end
    if act then
      redis.call('ZADD', key, till, id)
      note(key, at, sum, uneven)
      if till > last then
        last = till
      end
      live(key, last)
    end
    return nil, true
  end
end
