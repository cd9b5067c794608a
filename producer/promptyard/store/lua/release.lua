-- Gives a running job back to its queue, or to the next tier's, for another attempt.
-- Race closed: as in record: only the holder of the lease may; a cancelled or taken-over job
-- is left alone. The message is the caller's own (a Celery retry), due after the delay.
--
-- ARGV: id, token, tier, model, attempt, fallback (1 if the model changes), delay_s until the
--       caller's message is due.
-- Returns 1, or 0 if fenced.

local id, token, tier, model, attempt = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local key = job_key(id)
local job = redis.call('HMGET', key, 'lease', 'batch', 'tier', 'attempts', 'priority')
if job[1] ~= token then return 0 end
redis.call('HSET', key, 'state', 'routed', 'tier', tier, 'model', model,
  'attempts', (job[4] and job[4] .. ',' or '') .. attempt)
redis.call('HDEL', key, 'lease')
redis.call('ZREM', LEASES, id)
wait(id, tier, job[5], now_s() + tonumber(ARGV[7]))
local batch = job[2]
move(batch, 'running', 'routed')
if batch ~= '' then
  local bkey = batch_key(batch)
  redis.call('HINCRBY', bkey, 'retries', 1)
  if ARGV[6] == '1' then redis.call('HINCRBY', bkey, 'fallbacks', 1) end
  if job[3] ~= tier then
    redis.call('HINCRBY', bkey, 'tier:' .. job[3] .. ':routed', -1)
    redis.call('HINCRBY', bkey, 'tier:' .. tier .. ':routed', 1)
  end
end
return 1
