// What a job left behind: a list, downloads, and a look at text and raster pictures; never at HTML or SVG, which can act.

import {call, fail, get} from './api.js';
import {button, h, replace} from './dom.js';
import {t} from './i18n.js';
import {save} from './log.js';
import {problemBox} from './show.js';
import {bytes} from './time.js';

const LOOK_MOST = 262144; // bytes of a text
const PICTURE_MOST = 16 << 20;
// By their first bytes, whatever name and type say.
const pictures = [['image/png', [0x89, 0x50, 0x4e, 0x47]], ['image/jpeg', [0xff, 0xd8, 0xff]], ['image/gif', [0x47, 0x49, 0x46, 0x38]],
	['image/webp', [0x52, 0x49, 0x46, 0x46]]];

function mayLook({path, type, size}) {
	if (/html|svg|xml/i.test(type || '') || /\.(x?html?|svgz?|xml|xht)$/i.test(path)) return false;
	if (/^image\//.test(type)) return size <= PICTURE_MOST;
	return /^text\/|json|yaml|javascript|x-sh/.test(type || '') || /\.(txt|log|md|csv|tsv|json|ya?ml|toml|ini|[ch]|py|js|sh|diff|patch)$/i.test(path);
}

async function fetchOne(key, path, headers = {}) {
	const response = await call(`trabajos/${key}/artifacts/${path.split('/').map(encodeURIComponent).join('/')}`, {headers});
	if (!response.ok) throw await fail(response);
	return response;
}

async function look(key, artifact, into) {
	const response = await fetchOne(key, artifact.path, /^image\//.test(artifact.type) ? {} : {Range: `bytes=0-${LOOK_MOST - 1}`});
	const data = new Uint8Array(await response.arrayBuffer());
	const picture = pictures.find(([, start]) => start.every((byte, at) => data[at] === byte));
	if (picture) {
		const address = URL.createObjectURL(new Blob([data], {type: picture[0]}));
		const image = h('img', {src: address, alt: artifact.path});
		image.addEventListener('load', () => URL.revokeObjectURL(address));
		image.addEventListener('error', () => replace(into, t('artifacts.broken')));
		replace(into, image);
	} else {
		replace(into, h('pre', {tabindex: '0', 'aria-label': artifact.path}, new TextDecoder().decode(data.subarray(0, LOOK_MOST))),
			artifact.size > LOOK_MOST ? h('p.small', t('artifacts.cut', {bytes: bytes(LOOK_MOST)})) : null);
	}
}

function item(key, artifact) {
	const shown = h('div.preview');
	const trouble = async (work) => {
		try {
			await work();
		} catch (error) {
			replace(shown, problemBox(error));
		}
	};
	const looker = mayLook(artifact) ? button(t('artifacts.look'), () => trouble(async () => {
		const open = !shown.firstChild;
		looker.setAttribute('aria-expanded', String(open));
		if (open) await look(key, artifact, shown);
		else replace(shown);
	}), {class: 'quiet', 'aria-expanded': 'false', 'aria-label': `${t('artifacts.look')}: ${artifact.path}`}) : null;
	return h('li', h('span.path', h('bdi', artifact.path)), h('span.small', bytes(artifact.size)),
		h('code.small', {title: `SHA-256: ${artifact.sha256}`}, (artifact.sha256 || '').slice(0, 12)), h('span.buttons', looker,
			button(t('artifacts.get'), () => trouble(async () => {
				const data = await (await fetchOne(key, artifact.path)).arrayBuffer();
				save(new Blob([data], {type: 'application/octet-stream'}), artifact.path.split('/').pop());
			}), {class: 'quiet', 'aria-label': `${t('artifacts.get')}: ${artifact.path}`})), shown);
}

function lost({left_out: count, left_out_paths: paths, error}) {
	return [error ? h('p.wrong', t('artifacts.error', {why: error})) : null,
		count ? h('p.small', t('artifacts.left_out', {n: count}), ' ', (paths || []).map(({path, reason}) => [h('bdi', path), ` (${reason}) `])) : null];
}

// told: what the job says of them. null: there are none.
export async function artifacts(key, told, signal) {
	if (!told) return null;
	const all = await get(`trabajos/${key}/artifacts`, {signal});
	return h('section.panel.artifacts', {'aria-labelledby': 'artifacts-title'}, h('h2', {id: 'artifacts-title'}, t('artifacts')),
		all.length ? h('ul', all.map((artifact) => item(key, artifact))) : h('p.small', t('artifacts.none')), lost(told));
}
