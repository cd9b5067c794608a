-- Ends a running job with its answer or its error.
-- Race closed: a worker that lost its lease (it hung, another took over) or whose job was
-- cancelled comes back with an answer; the token no longer fits and nothing is written,
-- so the first result stands and the batch counters move once.
--
-- ARGV: id, token, state, answer, attempt, retention_s, cost in nano-dollars,
--       prompt, output, thinking and cached tokens, decision ('' to keep the record's).
-- Returns 1, or 0 if fenced.

local id, token, state, answer, attempt = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local key = job_key(id)
local job = redis.call('HMGET', key, 'lease', 'batch', 'tier', 'attempts')
if job[1] ~= token then return 0 end
redis.call('HSET', key, 'answer', answer)
if attempt ~= '' then
  redis.call('HSET', key, 'attempts', (job[4] and job[4] .. ',' or '') .. attempt)
end
if ARGV[12] ~= '' then redis.call('HSET', key, 'decision', ARGV[12]) end
local batch = job[2]
if batch ~= '' then
  local bkey = batch_key(batch)
  local names = { 'cost_nanousd', 'prompt_tokens', 'output_tokens', 'thinking_tokens', 'cached_tokens' }
  for n, name in ipairs(names) do
    if ARGV[6 + n] ~= '0' then redis.call('HINCRBY', bkey, name, ARGV[6 + n]) end
  end
end
finish(id, batch, 'running', state, job[3], now_s(), ARGV[6])
return 1
