-- Prints what wrk measured as one line of JSON, the last of its output.
function done(summary, latency, requests)
	local failed = summary.errors
	io.write(string.format(
		'{"requests":%d,"duration_us":%d,"p50_us":%d,"p99_us":%d,"max_us":%d,"refused":%d,"broken":%d}\n',
		summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), latency.max,
		failed.status, failed.connect + failed.read + failed.write + failed.timeout))
end
