// The lines of a log, as they come in: pieces of standard output and error in turns, each with lines of its own.

import {parse, plainState} from './ansi.js';

export class Lines {
	constructor() {
		this.clear();
	}

	clear() {
		this.all = []; // {text, runs, stream, at}
		this.open = {}; // stream → its line without an end yet
		this.colours = {};
		this.widest = 0;
	}

	note(text) {
		this.open = {};
		this.all.push({text, runs: null, stream: 'note', at: null});
	}

	set(line, raw, stream) {
		line.raw = raw;
		const {text, runs, state} = parse(raw, line.before);
		line.text = text;
		line.runs = runs;
		this.colours[stream] = state;
		if (text.length > this.widest) this.widest = text.length;
	}

	add(stream, at, piece) {
		const parts = piece.split('\n');
		parts.forEach((part, index) => {
			const last = index === parts.length - 1;
			let line = this.open[stream];
			if (last && part === '') return;
			if (!line) {
				line = {stream, at, before: this.colours[stream] || plainState};
				this.open[stream] = line;
				this.all.push(line);
				this.set(line, part, stream);
			} else if (part !== '') {
				this.set(line, line.raw + part, stream);
			}
			if (!last) this.close(stream);
		});
		if (parts.length > 1 && parts[parts.length - 1] === '') this.close(stream);
	}

	close(stream) {
		const line = this.open[stream];
		if (!line) return;
		delete line.raw;
		delete line.before;
		delete this.open[stream];
	}
}

const utf8 = new TextDecoder();
// The text of an output event: bytes that are no UTF-8 come as base64.
export function textOf(event) {
	return event.text ?? utf8.decode(Uint8Array.from(atob(event.base64 || ''), (c) => c.charCodeAt(0)));
}
