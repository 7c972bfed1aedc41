// Terminal colours (ECMA-48 SGR) of a line as runs of text; every other control sequence is left out.

export const plainState = Object.freeze({fg: null, bg: null, bold: false, dim: false, italic: false, underline: false, inverse: false});

// CSI …, OSC … BEL or ST, other two-byte escapes; then single controls but tab
const sequences = /\x1b\[([0-?]*)[ -/]*([@-~])|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[^[\]]|[\x00-\x08\x0b-\x1f\x7f]/g;

function colour(codes, at) {
	if (codes[at + 1] === 5) return {value: indexed(codes[at + 2]), used: 2};
	if (codes[at + 1] === 2) return {value: rgb(codes.slice(at + 2, at + 5)), used: 4};
	return {value: null, used: 1};
}
function rgb(parts) {
	return parts.length === 3 && parts.every((part) => part >= 0 && part <= 255) ? `rgb(${parts.join(',')})` : null;
}
function indexed(code) {
	if (!(code >= 0 && code <= 255)) return null;
	if (code < 16) return code;
	if (code >= 232) return rgb(Array(3).fill(8 + (code - 232) * 10));
	return rgb([36, 6, 1].map((step) => [0, 95, 135, 175, 215, 255][Math.floor((code - 16) / step) % 6]));
}

const switches = {1: ['bold', true], 2: ['dim', true], 3: ['italic', true], 4: ['underline', true], 7: ['inverse', true],
	23: ['italic', false], 24: ['underline', false], 27: ['inverse', false]};

function turn(state, parameters) {
	const codes = parameters === '' ? [0] : parameters.split(/[;:]/).map((part) => Number(part || 0));
	let next = {...state};
	for (let at = 0; at < codes.length; at++) {
		const code = codes[at];
		if (code === 0) next = {...plainState};
		else if (switches[code]) next[switches[code][0]] = switches[code][1];
		else if (code === 22) next.bold = next.dim = false;
		else if (code >= 30 && code <= 37) next.fg = code - 30;
		else if (code >= 90 && code <= 97) next.fg = code - 90 + 8;
		else if (code >= 40 && code <= 47) next.bg = code - 40;
		else if (code >= 100 && code <= 107) next.bg = code - 100 + 8;
		else if (code === 39) next.fg = null;
		else if (code === 49) next.bg = null;
		else if (code === 38 || code === 48) {
			const {value, used} = colour(codes, at);
			next[code === 38 ? 'fg' : 'bg'] = value;
			at += used;
		}
	}
	return next;
}

// {text, runs: [{text, state}] or null where nothing is coloured, state: as it is behind the line}. Of what was written over with
// a carriage return, the last is shown.
export function parse(raw, state) {
	if (state === plainState && !/[\x00-\x08\x0b-\x1f\x7f]/.test(raw)) return {text: raw, runs: null, state};
	const runs = [];
	let text = '', from = 0;
	const add = (part) => {
		if (!part) return;
		text += part;
		runs.push({text: part, state});
	};
	for (const found of raw.matchAll(sequences)) {
		add(raw.slice(from, found.index));
		from = found.index + found[0].length;
		if (found[2] === 'm' && /^[0-9;:]*$/.test(found[1])) state = turn(state, found[1]);
		if (found[0] === '\r' && /[^\r]/.test(raw.slice(from))) {
			runs.length = 0;
			text = '';
		}
	}
	add(raw.slice(from));
	return {text, runs, state: Object.values(state).some(Boolean) || state.fg === 0 || state.bg === 0 ? state : plainState};
}
