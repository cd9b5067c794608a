-- Pauses a batch, a tier or a model: no more of its calls is let through (admit.lua).
-- Race closed: a batch may end its retention, or run out of budget, between a look at it and the
-- pause; here the pause is on a batch that is there, and it is the user's whatever came first.
--
-- ARGV: place. Returns 1, 0 if it was paused already, -1 if there is no such batch.

local kind, name = string.match(ARGV[1], '^(%a+):(.*)$')
if kind ~= 'batch' then return redis.call('HSETNX', PAUSED, ARGV[1], stamp(now_s())) end
local key = batch_key(name)
if redis.call('EXISTS', key) == 0 then return -1 end
if redis.call('HGET', key, 'paused') == 'user' then return 0 end
redis.call('HSET', key, 'paused', 'user')
return 1
