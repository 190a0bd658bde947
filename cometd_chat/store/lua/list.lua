-- Let a user or client lead to the session.
-- KEYS: 1 the partition of the user or client   ARGV: 3 session  4 kind  5 name
return once(function()
  call('SADD', base .. ARGV[4] .. ':' .. ARGV[5], sid)
  return {'ok'}
end)
