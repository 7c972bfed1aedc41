// Server-sent events read by fetch, since EventSource can send no token. What drops is taken up where it was (Last-Event-ID).

import {call, fail} from './api.js';
import {renew} from './auth.js';

const SILENCE_MS = 40000; // the server's heartbeat comes every 15 s

// Calls take({event, id, data}) for each event of a stream of lines
export function parser(take) {
	let rest = '', event = '', id = null, data = [];
	return (text) => {
		rest += text;
		const lines = rest.split(/\r\n|\n|\r(?!$)/);
		rest = lines.pop();
		for (const line of lines) {
			if (line === '') {
				if (data.length) take({event: event || 'message', id, data: data.join('\n')});
				event = '';
				data = [];
				continue;
			}
			const [, field, value = ''] = /^([^:]*)(?:: ?(.*))?$/s.exec(line);
			if (field === 'event') event = value;
			else if (field === 'id') id = value;
			else if (field === 'data') data.push(value);
		}
	};
}

async function read(response, watch, take) {
	const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
	const parse = parser(take);
	for (;;) {
		watch();
		const {value, done} = await reader.read();
		if (done) return;
		parse(value);
	}
}

function pause(ms, signal) {
	return new Promise((resolve) => {
		const timer = setTimeout(resolve, ms);
		signal.addEventListener('abort', () => clearTimeout(timer) || resolve(), {once: true});
		addEventListener('online', resolve, {once: true, signal});
	});
}

// One connection, to its end: 'end' where the stream says so, else 'dropped'
async function connect(path, outer, state, on) {
	const own = new AbortController();
	const stop = () => own.abort();
	outer.addEventListener('abort', stop);
	let timer = 0, over = 'dropped';
	try {
		const response = await call(path, {signal: own.signal, headers: {Accept: 'text/event-stream', ...(state.last ? {'Last-Event-ID': state.last} : {})}});
		if (!response.ok) throw await fail(response);
		state.tries = 0;
		on.state('live');
		await read(response, () => {
			clearTimeout(timer);
			timer = setTimeout(stop, SILENCE_MS);
		}, ({event, id, data}) => {
			if (id) state.last = id;
			if (event === 'end') over = 'end';
			if (event === 'expired') over = 'expired';
			on.event(event, JSON.parse(data));
		});
	} finally {
		clearTimeout(timer);
		outer.removeEventListener('abort', stop);
		own.abort();
	}
	return over;
}

// on.event(name, data), on.state('live' | 'dropped' | 'end'); a status that no repetition would change is thrown.
export async function follow(path, signal, on) {
	const state = {last: null, tries: 0};
	while (!signal.aborted) {
		let over = 'dropped';
		try {
			over = await connect(path, signal, state, on);
		} catch (error) {
			if (signal.aborted) return;
			if (error.status >= 400 && error.status < 500 && error.status !== 429) throw error;
		}
		if (signal.aborted) return;
		if (over === 'end') {
			on.state('end');
			return;
		}
		if (over === 'expired' && await renew().catch(() => false)) continue;
		on.state('dropped');
		await pause(Math.min(1000 * 2 ** state.tries++, 15000), signal);
	}
}
