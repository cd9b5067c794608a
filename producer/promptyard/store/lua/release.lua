-- Gives a running job back: to its queue, to another model's, or to where it waits for long.
-- Race closed: as in record: only the holder of the lease may; a cancelled or taken-over job
-- is left alone, but what its calls were billed is counted. Where the message is the caller's
-- own (a Celery retry), it is due after the delay; else it is pushed here, with the move.
-- A worker that lost the reply asks again: it is told that it may go on, and nothing moves twice.
--
-- ARGV: id, token, tier, model, attempts, why ('' | retry | fallback | escalation), delay_s,
--       cost in nano-dollars, prompt, output, thinking and cached tokens,
--       pardoned ('' | number of attempts that no longer count), place ('' if not parked),
--       outage (1: it waits because models are down), queue key, message ('' if the caller's).
-- Returns 1, or 0 if fenced.

local id, token, tier, model, attempts, why = unpack(ARGV, 1, 6)
local pardoned, place, outage, queue, message = unpack(ARGV, 13, 17)
local key = job_key(id)
local job = redis.call('HMGET', key, 'lease', 'batch', 'tier', 'priority', 'released')
local batch, bill = job[2], { unpack(ARGV, 8, 12) }
if job[1] ~= token then
  if job[5] == token then return 1 end
  charge_fenced(id, batch, token, attempts, bill)
  return 0
end
local now = now_s()
append_attempts(id, attempts)
charge(batch, bill)
let_go(id, batch)
redis.call('HSET', key, 'tier', tier, 'model', model, 'released', token)
if pardoned ~= '' then redis.call('HSET', key, 'pardoned', pardoned) end
if outage == '1' then redis.call('HSETNX', key, 'since', stamp(now)) end
if place ~= '' then
  park(id, place, now)
else
  if message ~= '' then redis.call('LPUSH', queue, message) end
  wait(id, tier, job[4], now + tonumber(ARGV[7]))
end
if batch ~= '' then
  local bkey = batch_key(batch)
  if why ~= '' then redis.call('HINCRBY', bkey, 'retries', 1) end
  if why == 'fallback' then redis.call('HINCRBY', bkey, 'fallbacks', 1) end
  if why == 'escalation' then redis.call('HINCRBY', bkey, 'escalations', 1) end
  if job[3] ~= tier then
    if job[3] then redis.call('HINCRBY', bkey, 'tier:' .. job[3] .. ':routed', -1) end
    redis.call('HINCRBY', bkey, 'tier:' .. tier .. ':routed', 1)
  end
end
return 1
