// Lines over time, one field below the other with the same hours: steps for numbers that stay until they change.

import {h, replace, svg} from './dom.js';
import {locale, t} from './i18n.js';

const HIGH = 96, LEFT = 58, RIGHT = 12, GAP = 34;
const clock = new Intl.DateTimeFormat(locale, {hour: '2-digit', minute: '2-digit'});
const seconds = new Intl.DateTimeFormat(locale, {hour: '2-digit', minute: '2-digit', second: '2-digit'});

const times = [1, 2, 10, 30, 60, 120, 300, 600, 1200, 3600, 7200, 14400, 43200, 86400].map((seconds) => seconds * 1000);
function nice(most, timed) {
	if (timed) return times.find((step) => step >= most) || most;
	const power = 10 ** Math.floor(Math.log10(Math.max(most, 1)));
	return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= most);
}

function path(points, x, y, from, to) {
	let text = '';
	points.forEach(([at, value], index) => {
		text += index ? `H${x(at)}V${y(value)}` : `M${x(Math.max(at, from))} ${y(value)}`;
	});
	return points.length ? `${text}H${x(to)}` : '';
}

function field(spec, index, width, [from, to]) {
	const top = 18 + index * (HIGH + GAP), bottom = top + HIGH;
	const most = nice(Math.max(1, ...spec.lines.flatMap(({points}) => points.map(([, value]) => value))), spec.timed);
	const x = (at) => Math.round((LEFT + (at - from) / Math.max(to - from, 1) * (width - LEFT - RIGHT)) * 10) / 10;
	const y = (value) => Math.round((bottom - value / most * HIGH) * 10) / 10;
	return svg('g', {}, svg('text', {class: 'field-name', x: LEFT, y: top - 6}, spec.name),
		(spec.timed || most % 2 === 0 ? [0, most / 2, most] : [0, most]).map((value) => [svg('line', {class: 'rule', x1: LEFT, x2: width - RIGHT, y1: y(value), y2: y(value)}),
			svg('text', {class: 'tick', x: LEFT - 6, y: y(value) + 4, 'text-anchor': 'end'}, spec.format(value))]),
		spec.lines.map(({points, kind, filled}) => {
			const line = path(points, x, y, from, to);
			return [filled && line ? svg('path', {class: `area of-${kind}`, d: `${line}V${bottom}H${x(points[0][0])}Z`}) : null, svg('path', {class: `curve of-${kind}`, d: line})];
		}));
}

function hours(width, high, [from, to]) {
	const count = Math.max(2, Math.min(8, Math.floor(width / 120)));
	return Array.from({length: count}, (_, index) => {
		const at = from + (to - from) * index / (count - 1);
		const x = LEFT + (width - LEFT - RIGHT) * index / (count - 1);
		return svg('text', {class: 'tick', x, y: high - 4, 'text-anchor': index === 0 ? 'start' : index === count - 1 ? 'end' : 'middle'}, (to - from < 900000 ? seconds : clock).format(new Date(at)));
	});
}

// fields: [{name, format, timed, lines: [{points: [[ms, value]…], kind, name, filled}]}]; at(ms) is told where the pointer is.
export function chart(fields, span, label, at) {
	const high = 18 + fields.length * (HIGH + GAP) + 4;
	const cursor = svg('line', {class: 'cursor', y1: 10, y2: high - 20, visibility: 'hidden'});
	const picture = svg('svg', {class: 'chart', role: 'img', 'aria-label': label, height: high});
	const draw = () => {
		const width = Math.max(280, picture.clientWidth);
		picture.setAttribute('viewBox', `0 0 ${width} ${high}`);
		replace(picture, fields.map((spec, index) => field(spec, index, width, span)), hours(width, high, span), cursor);
	};
	picture.addEventListener('pointermove', (event) => {
		const box = picture.getBoundingClientRect();
		const part = Math.min(1, Math.max(0, (event.clientX - box.left - LEFT) / (box.width - LEFT - RIGHT)));
		const x = LEFT + part * (box.width - LEFT - RIGHT);
		for (const [name, value] of [['x1', x], ['x2', x], ['visibility', 'visible']]) cursor.setAttribute(name, value);
		at(span[0] + part * (span[1] - span[0]));
	});
	picture.addEventListener('pointerleave', () => {
		cursor.setAttribute('visibility', 'hidden');
		at(null);
	});
	new ResizeObserver(draw).observe(picture);
	const legend = h('ul.legend', fields.flatMap(({lines}) => lines).filter(({name}) => name).map(({name, kind}) => h('li', h(`span.dot.of-${kind}`, {'aria-hidden': 'true'}), name)));
	return h('figure', picture, legend, h('figcaption.unseen', t('scale.chart.more')));
}

// Pairs of what was foretold and what came: a range each, and a dot.
export function ranges(items, label, format) {
	const high = 180, low = 1;
	const most = Math.max(1000, ...items.flatMap(({high_ms, started_ms}) => [high_ms, started_ms]));
	const picture = svg('svg', {class: 'chart', role: 'img', 'aria-label': label, height: high});
	const y = (ms) => Math.round((high - 22 - Math.log(Math.max(ms, 100) / 100) / Math.log(most / 100) * (high - 40)) * 10) / 10;
	const draw = () => {
		const width = Math.max(280, picture.clientWidth), step = (width - LEFT - RIGHT) / Math.max(items.length, low);
		picture.setAttribute('viewBox', `0 0 ${width} ${high}`);
		const ticks = [100, 1000, 10000, 60000, 600000, 3600000].filter((ms) => ms <= most * 1.01);
		replace(picture, ticks.map((ms) => [svg('line', {class: 'rule', x1: LEFT, x2: width - RIGHT, y1: y(ms), y2: y(ms)}),
			svg('text', {class: 'tick', x: LEFT - 6, y: y(ms) + 4, 'text-anchor': 'end'}, format(ms))]),
		items.map((item, index) => {
			const x = LEFT + step * (index + 0.5), inside = item.started_ms >= item.low_ms && item.started_ms <= item.high_ms;
			return [svg('line', {class: 'told', x1: x, x2: x, y1: y(item.low_ms), y2: y(item.high_ms)}),
				svg('circle', {class: inside ? 'came' : 'came missed', cx: x, cy: y(item.started_ms), r: 2.5})];
		}));
	};
	new ResizeObserver(draw).observe(picture);
	return h('figure', picture);
}
