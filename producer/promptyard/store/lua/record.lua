-- Ends a running job with its answer or its error.
-- Race closed: a worker that lost its lease (it hung, another took over) or whose job was
-- cancelled comes back with an answer; the token no longer fits and nothing is written,
-- so the first result stands and the batch counters move once. What its call was billed is
-- counted all the same, once.
--
-- ARGV: id, token, state, answer, attempts, retention_s, cost in nano-dollars,
--       prompt, output, thinking and cached tokens, decision ('' to keep the record's).
-- Returns 1, or 0 if fenced.

local id, token, state, answer, attempts = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local key = job_key(id)
local job = redis.call('HMGET', key, 'lease', 'batch', 'tier')
local bill = { unpack(ARGV, 7, 11) }
if job[1] ~= token then
  charge_fenced(id, job[2], token, attempts, bill)
  return 0
end
redis.call('HSET', key, 'answer', answer)
append_attempts(id, attempts)
if ARGV[12] ~= '' then redis.call('HSET', key, 'decision', ARGV[12]) end
charge(job[2], bill)
finish(id, job[2], 'running', state, job[3], now_s(), ARGV[6])
return 1
