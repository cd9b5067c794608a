-- The judge's allowance, one for all classify workers: its calls of the last minute, its bill
-- of the day (UTC, by Redis' clock).
-- Race closed: workers that ask at the same moment each see room for one more call; here the
-- call is counted in the step that finds the room. A script that is sent again after a lost
-- reply finds its own id, and neither takes nor pays twice.
--
-- ARGV: calls key, payments key, beginning of the bills' keys, verb, id, then
--   ask: calls a minute, most nano-dollars a day ('' for no limit). Returns 1 if allowed.
--   pay: nano-dollars (negative: a correction). Returns the bill.

local calls, payments, id = ARGV[1], ARGV[2], ARGV[5]
local now = now_s()
local bill = ARGV[3] .. math.floor(now / 86400)

if ARGV[4] == 'ask' then
  redis.call('ZREMRANGEBYSCORE', calls, '-inf', now - 60)
  if redis.call('ZSCORE', calls, id) then return 1 end
  local due = tonumber(redis.call('GET', bill) or 0)
  if ARGV[7] ~= '' and due >= tonumber(ARGV[7]) then return 0 end
  if redis.call('ZCARD', calls) >= tonumber(ARGV[6]) then return 0 end
  redis.call('ZADD', calls, now, id)
  redis.call('EXPIRE', calls, 120)
  return 1
end

-- longer than any reply is waited for
redis.call('ZREMRANGEBYSCORE', payments, '-inf', now - 600)
if redis.call('ZADD', payments, 'NX', now, id) == 0 then
  return tonumber(redis.call('GET', bill) or 0)
end
redis.call('EXPIRE', payments, 1200)
local due = redis.call('INCRBY', bill, ARGV[6])
redis.call('EXPIRE', bill, 2 * 86400)
return due
