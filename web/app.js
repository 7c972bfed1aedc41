// The start: whoever is logged in is shown a page, others what this is and where to log in.

import {logIn, start, user} from './auth.js';
import {button, h, replace} from './dom.js';
import {t} from './i18n.js';
import {mark, open} from './shell.js';

const door = h('main.door', {id: 'main', 'aria-busy': 'true'});

function welcome(trouble) {
	const who = user();
	const enter = button(t('log_in'), async () => {
		enter.disabled = true;
		try {
			await logIn();
		} catch (error) {
			welcome(error);
		}
	}, {class: 'primary big'});
	door.setAttribute('aria-busy', 'false');
	document.title = 'Trabajos';
	replace(door, h('h1', mark(), 'Trabajos'), h('p.lead', t('welcome.lead')),
		h('ol.steps', [1, 2, 3].map((step) => h('li', h('strong', t(`welcome.${step}`)), ' ', t(`welcome.${step}.more`)))),
		trouble ? h('p.notice.bad', {role: 'alert'}, trouble.message === 'insecure' ? t('welcome.insecure') : t('welcome.trouble', {why: trouble.message})) : null,
		who ? h('p.notice.bad', {role: 'alert'}, t('welcome.no_role', {name: who.name})) : null, h('p', enter));
}

document.body.prepend(door);
try {
	const there = await start();
	if (there && user().may) {
		door.remove();
		open();
	} else {
		welcome();
	}
} catch (error) {
	welcome(error);
}
