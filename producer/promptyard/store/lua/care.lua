-- Takes or keeps the caretaker's lock.
-- Race closed: two workers that find it free at once; and one whose lock ran out while it slept
-- must not take it back from another.
--
-- ARGV: key, name, milliseconds. Returns 1 if it is ours.

local holder = redis.call('GET', ARGV[1])
if holder and holder ~= ARGV[2] then return 0 end
redis.call('SET', ARGV[1], ARGV[2], 'PX', ARGV[3])
return 1
