-- Change devices as it was decided in Python, unless the session is another by now.
-- ARGV: 4 JSON {version, fields, devices}
return once(function()
  local change = cjson.decode(ARGV[4])
  local version = call('HGET', session, 'version')
  if not version then return {'none'} end
  if version ~= change.version then return {'again'} end
  if damaged() then return {'damaged'} end
  apply(change)
  if type(change.devices) ~= 'table' then return {'ok', '0'} end
  rank()
  return {'ok', tell(ALTERED)}
end)
