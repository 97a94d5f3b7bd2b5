-- Logs: a sorted set of IDs by the time at which they stop to count, so that no
-- decision reads more than what it drops or waits for. Members with negative
-- scores hold the rest: 'a' the latest time seen, 's' the sum of all units, 'u'
-- how many IDs have not one unit, and 'u' with an ID its units.

local log, logTake, logCharge, logSettle, logRenew
if logged > 0 then
  local function units(key, of)
    local u = call('ZSCORE', key, 'u' .. of)
    return u and -u or 1
  end

  local function live(key, seconds) -- lives as long as its last entry
    if clock < 0 then
      call('PEXPIREAT', key, floor(seconds / 1000) + 1)
    else
      call('PEXPIRE', key, floor((seconds - now) / 1000) + 1 + slack)
    end
  end

  local function note(key, seen, sum, uneven)
    call('ZADD', key, -1 - seen, 'a', -1 - sum, 's', -1 - uneven, 'u')
  end

  -- log returns the latest time seen, the sum and the number of uneven, the
  -- latest end, the time that it decides at, how many entries are over by then,
  -- and the units of the others.
  log = function(i)
    local key = KEYS[i]
    local has = call('ZMSCORE', key, 'a', 's', 'u')
    if not (has[1] and has[2] and has[3]) then
      if call('EXISTS', key) == 1 then
        corrupt = i
      end
      return 0, 0, 0, 0, now, 0, 0
    end
    local seen, sum, uneven = -1 - has[1], -1 - has[2], -1 - has[3]
    local last = tonumber(call('ZRANGE', key, -1, -1, 'WITHSCORES')[2])
    if seen < 0 or sum < 1 or uneven < 0 or last < 1 then
      corrupt = i
    end
    local at = now
    if seen > at and now < last then
      at = seen
    end
    local over, used = call('ZCOUNT', key, 1, at), sum
    if over > 0 then
      if uneven == 0 then
        used = sum - over
      else
        for _, of in ipairs(call('ZRANGEBYSCORE', key, 1, at)) do
          used = used - units(key, of)
        end
      end
    end
    return seen, sum, uneven, last, at, over, used
  end

  -- frees returns the time by which so many units are free again.
  local function frees(key, need, uneven, at, over)
    if uneven == 0 then
      local rank = 2 + over + need
      return tonumber(call('ZRANGE', key, rank, rank, 'WITHSCORES')[2])
    end
    local skip = 0
    while true do
      local some = call('ZRANGEBYSCORE', key, at + 1, '+inf', 'WITHSCORES', 'LIMIT', skip, 100)
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

  logTake = function(i, cost, period, quota)
    local _, _, uneven, last, at, over, used = log(i)
    local remaining, retry, reset = 0, 0, 0
    if cost > quota then
      retry = -1
    elseif cost > 0 and cost > quota - used then
      retry = frees(KEYS[i], cost - (quota - used), uneven, at, over) - now
    else
      used = used + cost
    end
    if quota > used then
      remaining = quota - used
    end
    if last > at then
      reset = last - now
    end
    if retry == 0 and cost > 0 then
      if at + period - now > reset then
        reset = at + period - now
      end
      if at + period >= EXACT then
        far = i
      end
    end
    return remaining, retry, reset, 0
  end

  -- logCharge drops what is over and enters the cost; a delivery that is
  -- repeated enters it once.
  logCharge = function(i, cost, period)
    local key = KEYS[i]
    local _, _, uneven, last, at, over, used = log(i)
    if over > 0 then
      if uneven > 0 then
        for _, of in ipairs(call('ZRANGEBYSCORE', key, 1, at)) do
          uneven = uneven - call('ZREM', key, 'u' .. of)
        end
      end
      call('ZREMRANGEBYSCORE', key, 1, at)
    end
    if cost > EXACT - used then
      cost = EXACT - used
    end
    if cost > 0 and call('ZADD', key, 'NX', at + period, id) == 1 then
      used = used + cost
      if cost ~= 1 then
        call('ZADD', key, -cost, 'u' .. id)
        uneven = uneven + 1
      end
      if at + period > last then
        last = at + period
      end
    end
    note(key, at, used, uneven)
    live(key, last)
  end

  logSettle = function(i, actual)
    local key = KEYS[i]
    local seen, sum, uneven, _, at = log(i)
    local till = call('ZSCORE', key, id)
    if not till or tonumber(till) <= at then
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
      call('ZREM', key, 'u' .. id)
      uneven = uneven - 1
    end
    if actual <= 0 then
      call('ZREM', key, id)
    elseif actual ~= 1 then
      call('ZADD', key, -actual, 'u' .. id)
      uneven = uneven + 1
    end
    sum = sum - had + actual
    if sum == 0 then
      call('DEL', key)
    else
      note(key, seen, sum, uneven)
    end
  end

  -- logRenew renews the lease, or tells whether it counts.
  logRenew = function(i, period, act)
    local key = KEYS[i]
    local _, sum, uneven, last, at = log(i)
    local till = call('ZSCORE', key, id)
    till = till and tonumber(till) or 0
    if till <= at then
      return false
    end
    if at + period > till then
      till = at + period
    end
    if till >= EXACT then
      far = i
    elseif act then
      call('ZADD', key, till, id)
      note(key, at, sum, uneven)
      if till > last then
        last = till
      end
      live(key, last)
    end
    return true
  end
end
