// A new job: the repository, and folded away all that may be asked for.

import {get, post, Problem} from './api.js';
import {button, h, replace} from './dom.js';
import {t} from './i18n.js';
import {say} from './live.js';
import {draft, keepDraft} from './place.js';
import {keyOf, problemBox} from './show.js';

const DOCS = 'api/v1/docs#post-/api/v1/trabajos';

// member of a submission → its field; in this order on the page
const options = [
	{name: 'priority', type: 'number', min: -100, max: 100, placeholder: '0'},
	{name: 'timeout_s', type: 'number', min: 1, max: 86400},
	{name: 'retries', type: 'number', min: 0, max: 100, placeholder: '0'},
	{name: 'run_after', type: 'number', min: 0, max: 31536000, placeholder: '0'},
	{name: 'concurrency_key', type: 'text'},
	{name: 'concurrency_limit', type: 'number', min: 1, max: 1000, placeholder: '1'},
	{name: 'concurrency_policy', choices: ['queue', 'replace']},
	{name: 'on_done', type: 'url', placeholder: 'https://'},
	{name: 'on_done_secret', type: 'password', placeholder: 'whsec_…'},
	{name: 'labels', lines: 2, placeholder: 'team=red'},
	{name: 'env', lines: 3, placeholder: 'NAME=value'},
];

const secrets = ['env', 'on_done_secret']; // are never kept

function field(spec) {
	const id = `f-${spec.name}`, described = `${id}-hint ${id}-again ${id}-wrong`;
	const {name, choices, lines, ...attributes} = spec;
	const common = {id, name, 'aria-describedby': described, autocomplete: 'off', spellcheck: 'false'};
	let input;
	if (choices) input = h('select', common, choices.map((choice) => h('option', {value: choice}, t(`submit.${name}.${choice}`))));
	else if (lines) input = h('textarea', {...common, rows: lines, placeholder: attributes.placeholder});
	else input = h('input', {...common, ...attributes});
	return h(`div.entry.of-${name}`, h('label', {for: id}, t(`submit.${name}`)), input, h('p.hint', {id: `${id}-hint`}, t(`submit.${name}.hint`)),
		h('p.again', {id: `${id}-again`}), h('p.wrong', {id: `${id}-wrong`}));
}

class Mistake extends Error {
	constructor(name, message) {
		super(message);
		this.field = name;
	}
}

// "NAME=value" lines as an object
function pairs(name, text) {
	const found = {};
	for (const line of text.split('\n').map((one) => one.trim()).filter(Boolean)) {
		const at = line.indexOf('=');
		if (at === 0 || (at < 0 && name === 'env')) throw new Mistake(name, t('submit.pair', {line}));
		found[at < 0 ? line : line.slice(0, at)] = at < 0 ? '' : line.slice(at + 1);
	}
	return found;
}

// What the form asks for; a Mistake names the field.
function body(form) {
	const of = (name) => form.elements[name].value.trim();
	const asked = {url: of('url')};
	if (!asked.url) throw new Mistake('url', t('submit.url.missing'));
	if (of('ref')) asked.ref = of('ref');
	for (const {name, type} of options) {
		const value = of(name);
		if (!value || name === 'on_done' || name === 'on_done_secret') continue;
		if (type === 'number') {
			if (!/^-?\d+$/.test(value)) throw new Mistake(name, t('submit.number'));
			asked[name] = Number(value);
		} else if (name === 'labels' || name === 'env') {
			asked[name] = pairs(name, value);
		} else if (name !== 'concurrency_policy' || of('concurrency_key')) {
			asked[name] = value;
		}
	}
	if (asked.run_after === 0) delete asked.run_after;
	if (form.elements.reuse.checked) asked.reuse = true;
	if (of('on_done')) asked.on_done = of('on_done_secret') ? {url: of('on_done'), secret: of('on_done_secret')} : of('on_done');
	else if (of('on_done_secret')) throw new Mistake('on_done', t('submit.on_done.missing'));
	return asked;
}

function fill(form, job) {
	const put = (name, value) => {
		if (value !== null && value !== undefined) form.elements[name].value = value;
	};
	const written = (values, show) => Object.entries(values || {}).map(show).join('\n');
	for (const name of ['url', 'ref', 'timeout_s', 'concurrency_key', 'concurrency_limit', 'concurrency_policy']) put(name, job[name]);
	for (const name of ['priority', 'retries']) if (job[name]) put(name, job[name]);
	put('labels', written(job.labels, ([name, value]) => `${name}=${value}`));
	put('env', written(job.env, ([name]) => `${name}=`));
	if (job.on_done) put('on_done', typeof job.on_done === 'string' ? job.on_done : job.on_done.url);
	form.elements.reuse.checked = Boolean(job.reuse);
}

// ---- what is written but not sent

// once: the key by which the server knows a submission that is repeated
function keepForm(form, from, once) {
	const values = {}, again = secrets.filter((name) => form.elements[name].value.trim());
	for (const {name, type, value, checked} of form.elements) if (name && !secrets.includes(name)) values[name] = type === 'checkbox' ? checked : value;
	const written = again.length || Object.entries(values).some(([name, value]) => value && name !== 'concurrency_policy');
	keepDraft(written || from ? {from, once, values, again, open: form.querySelector('details').open, at: document.activeElement.name} : null);
}

function takeUp(form, {values, again, open}) {
	for (const [name, value] of Object.entries(values)) {
		const input = form.elements[name];
		if (!input) continue;
		if (input.type === 'checkbox') input.checked = value;
		else input.value = value;
	}
	form.querySelector('details').open = open || again.length > 0;
	for (const name of again) form.querySelector(`#f-${name}-again`).textContent = t('submit.again');
}

// ---- what is wrong

function mark(form, name, message) {
	const input = form.elements[name];
	if (!input) return false;
	const fold = input.closest('details');
	if (fold) fold.open = true;
	input.setAttribute('aria-invalid', 'true');
	form.querySelector(`#f-${name}-wrong`).textContent = message;
	input.focus();
	return true;
}

function unmark(form) {
	for (const input of form.querySelectorAll('[aria-invalid]')) input.removeAttribute('aria-invalid');
	for (const text of form.querySelectorAll('.wrong')) text.textContent = '';
}

// The field that the server's sentence is about
function fieldOf(message) {
	const names = ['url', 'ref', ...options.map(({name}) => name)].sort((a, b) => b.length - a.length);
	const places = names.map((name) => ({name, at: message.search(new RegExp(`\\b${name}\\b`))})).filter(({at}) => at >= 0);
	return places.length ? places.reduce((first, one) => (one.at < first.at ? one : first)).name : null;
}

export async function show(main, at) {
	const from = at.query.get('from');
	const old = from ? await get(`trabajos/${keyOf(from)}`, {signal: at.signal}) : null;
	const kept = draft(), mine = kept && kept.from === from ? kept : null;
	const trouble = h('div');
	let once = mine ? mine.once : crypto.randomUUID(); // the same job, should the answer be lost
	const send = h('button.primary.big', {type: 'submit'}, t('submit.send'));
	const form = h('form', {novalidate: true}, field({name: 'url', type: 'url', inputmode: 'url', placeholder: 'https://github.com/user/project.git', required: true}),
		field({name: 'ref', type: 'text', placeholder: 'main'}),
		h('details', {open: Boolean(old)}, h('summary', t('submit.options')), h('div.grid', options.map(field)),
			h('p.check', h('label', h('input', {type: 'checkbox', name: 'reuse'}), ' ', t('submit.reuse')), h('span.hint', t('submit.reuse.hint')))),
		trouble, h('p.buttons', send));
	if (old) fill(form, old);
	if (mine) takeUp(form, mine);
	form.addEventListener('input', (event) => {
		once = crypto.randomUUID();
		const again = form.querySelector(`#f-${event.target.name}-again`);
		if (again) again.textContent = '';
		keepForm(form, from, once);
	});
	form.addEventListener('submit', async (event) => {
		event.preventDefault();
		unmark(form);
		replace(trouble);
		send.disabled = true;
		try {
			const job = await post('trabajos', body(form), {'Idempotency-Key': once});
			keepDraft(null);
			say(t('submit.done'));
			location.hash = `#/job/${job.key}`;
		} catch (error) {
			const name = error instanceof Mistake ? error.field : error instanceof Problem && error.status === 400 ? fieldOf(error.message) : null;
			if (!name || !mark(form, name, error.message)) replace(trouble, problemBox(error));
		} finally {
			send.disabled = false;
		}
	});
	const back = mine ? h('div.notice', {role: 'status'}, h('p', t('submit.kept')), button(t('submit.empty'), () => {
		keepDraft(null);
		show(main, at);
	})) : null;
	replace(main, h('div.head', h('h1', t(old ? 'submit.change' : 'nav.submit'))), back, h('div.columns', h('section.panel', form),
		h('aside.panel', h('h2', t('submit.plan')), h('p', t('submit.plan.more')), h('ol.plan', ['trabajo.yaml', 'package.json', 'Makefile', 'main.py', 'main.sh'].map((file) =>
			h('li', h('code', file), ' ', t(`plan.${file}`)))), h('p', t('submit.plan.none')), h('p.small', t('submit.plan.after')),
		h('p.small', h('a', {href: DOCS, target: '_blank', rel: 'noopener'}, t('submit.plan.docs'))))));
	(mine && form.elements[mine.at] || form.elements.url).focus();
}
