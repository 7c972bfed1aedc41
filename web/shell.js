// What stands around every page: the bar with its places, who is logged in, and the notices; and which page is shown.

import {onReach} from './api.js';
import {logIn, logOut, onChange, user} from './auth.js';
import {button, focusHeading, h, redraw, replace, svg} from './dom.js';
import {t} from './i18n.js';
import {tabIcon} from './live.js';
import {keep, keepNow, kept, left, route} from './place.js';
import {problemBox, skeleton} from './show.js';

const places = [
	{path: '', name: 'list', load: () => import('./list.js')},
	{path: 'new', name: 'submit', load: () => import('./submit.js')},
	{path: 'dead', name: 'dead', load: () => import('./dead.js')},
	{path: 'workers', name: 'workers', load: () => import('./workers.js'), admin: true},
	{path: 'scale', name: 'scale', load: () => import('./scale.js'), admin: true},
];
const job = {path: 'job', name: 'job', load: () => import('./job.js')};

const bar = h('header.bar');
const notices = h('div.notices');
const main = h('main', {id: 'main', tabindex: '-1'});
let leaving = new AbortController();

export function mark() {
	return svg('svg', {class: 'mark', viewBox: '0 0 32 32', 'aria-hidden': 'true'},
		svg('rect', {x: 2, y: 2, width: 28, height: 28, rx: 8}), svg('path', {d: 'M9 10.5l6 5.5-6 5.5M17 21.5h7'}));
}

function drawBar(here) {
	const who = user();
	const items = places.filter((place) => !place.admin || who.admin).map((place) =>
		h('li', h('a', {href: `#/${place.path}`, 'aria-current': place === here || (here === job && place.path === '') ? 'page' : null}, t(`nav.${place.name}`))));
	redraw(bar, h('a.skip', {href: '#main', onclick: (event) => {
		event.preventDefault();
		focusHeading();
	}}, t('nav.skip')),
	h('a.brand', {href: '#/', 'aria-label': t('nav.home')}, mark(), h('span', 'Trabajos')),
	h('nav', {'aria-label': t('nav.places')}, h('ul', items)),
	h('div.who', h('span', {title: who.admin ? t('who.admin') : t('who.user')}, h('bdi', who.name), who.admin ? h('span.badge', t('who.admin_short')) : null),
		button(t('log_out'), logOut, {class: 'quiet'})));
}

function notice(id, ...content) {
	const old = notices.querySelector(`#${id}`);
	if (old) old.remove();
	if (content.length) notices.append(h('div.notice', {id, role: 'status'}, content));
}

export function title(text) {
	document.title = `${text} · Trabajos`;
}

async function show() {
	leaving.abort();
	leaving = new AbortController();
	left();
	const {signal} = leaving;
	const at = {...route(), kept: kept()};
	const here = at.path === 'job' ? job : places.find((place) => place.path === at.path) || places[0];
	document.querySelectorAll('dialog').forEach((dialog) => dialog.close());
	drawBar(here);
	tabIcon(null);
	title(t(`nav.${here.name}`));
	// A page that was left while it loaded draws where nobody sees it.
	const place = h('div', skeleton());
	replace(main, place);
	try {
		const {show: draw} = await here.load();
		if (signal.aborted) return;
		await draw(place, {...at, signal});
	} catch (error) {
		if (signal.aborted || error.name === 'AbortError') return;
		if (error.status === undefined) console.error(error);
		replace(place, h('div.head', h('h1', t(`nav.${here.name}`))), problemBox(error, show));
	}
	if (signal.aborted) return;
	if (!main.contains(document.activeElement)) focusHeading();
	if (!at.kept.row) scrollTo(0, at.kept.y || 0);
	addEventListener('scroll', () => keep({y: Math.round(scrollY)}), {signal, passive: true});
}

function shortcuts(event) {
	if (event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName) || document.querySelector('dialog[open]')) return;
	keepNow();
	if (event.key === 'n') location.hash = '#/new';
	else if (event.key === 'g') location.hash = '#/';
	else if (event.key === '/' && document.querySelector('[data-search]')) document.querySelector('[data-search]').focus();
	else if (event.key === '?') help();
	else return;
	event.preventDefault();
}

function help() {
	const keys = ['n', 'g', '/', 'j', 'k', 'Enter', '?'];
	const dialog = h('dialog', {'aria-labelledby': 'keys'}, h('h2', {id: 'keys'}, t('keys')),
		h('dl.keys', keys.map((key) => [h('dt', h('kbd', key)), h('dd', t(`key.${key}`))])),
		h('div.buttons', button(t('close'), () => dialog.close(), {autofocus: true})));
	dialog.addEventListener('close', () => dialog.remove());
	document.body.append(dialog);
	dialog.showModal();
}

export function open() {
	document.body.prepend(bar, notices, main, h('footer.foot', button(t('keys'), help, {class: 'quiet'})));
	history.scrollRestoration = 'manual';
	addEventListener('hashchange', show);
	addEventListener('keydown', shortcuts);
	onReach((reached) => reached ? notice('away') : notice('away', t('error.away')));
	addEventListener('offline', () => notice('away', t('error.offline')));
	addEventListener('online', () => notice('away'));
	onChange(() => user() ? notice('session') : notice('session', t('error.session'), ' ', button(t('log_in'), () => logIn())));
	show();
}
