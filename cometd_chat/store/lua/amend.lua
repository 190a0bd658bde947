-- Change devices as it was decided in Python, unless the session is another by now.
-- ARGV: 4 JSON {version, fields, devices}
return once_known(function()
  local change = cjson.decode(ARGV[4])
  if call('HGET', session, 'version') ~= change.version then return {'again'} end
  apply(change)
  if type(change.devices) ~= 'table' then return {'ok', '0'} end
  rank()
  return {'ok', tell(ALTERED)}
end)
