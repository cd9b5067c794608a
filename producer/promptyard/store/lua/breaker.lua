-- The circuit breaker of a model, one for all workers. Closed: calls pass. Open until a time:
-- none does. After that one call at a time may try; if it does well, the breaker closes.
-- Used by admit, report and trip (scripts.py puts it before them).

local BREAKER_TTL_S = 86400

local function breaker_key(model) return PREFIX .. 'breaker:' .. model end

-- Until when no call may pass; nil if one may. Second value: whether it would be the probe.
local function shut_until(model, id, now)
  local b = redis.call('HMGET', breaker_key(model), 'open_until', 'probe', 'probe_until')
  if not b[1] then return nil, false end
  if tonumber(b[1]) > now then return tonumber(b[1]), false end
  if b[3] and tonumber(b[3]) > now and b[2] ~= id then return tonumber(b[3]), false end
  return nil, true
end

local function open_breaker(model, until_s, opened, reason, now)
  local key = breaker_key(model)
  redis.call('HSETNX', key, 'since', stamp(now))
  redis.call('HSET', key, 'open_until', stamp(until_s), 'opened', opened, 'reason', reason)
  redis.call('HDEL', key, 'probe', 'probe_until')
  redis.call('EXPIRE', key, BREAKER_TTL_S + math.ceil(until_s - now))
end
