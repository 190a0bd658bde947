-- The session has the device no longer, unless it took it again since.
-- KEYS: 1 the partition of the device   ARGV: 3 session  4 device  5 number
local record = base .. 'device:' .. ARGV[4]
local number = call('HGET', record, 's:' .. sid)
if number and tonumber(number) <= tonumber(ARGV[5]) then
  call('HDEL', record, 's:' .. sid)
  if call('HLEN', record) == 2 then call('DEL', record) end
end
return {'ok'}
