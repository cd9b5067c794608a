-- One plain command that a full Redis would refuse, let through: what we send so is about work
-- that is in already, and has to go on for Redis to have room again.
-- Race closed: none; one command is atomic by itself.
--
-- ARGV: the command and its arguments. Returns its reply.

return redis.call(unpack(ARGV))
