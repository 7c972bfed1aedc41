// Where somebody is: what the address says, and beyond that (how far scrolled, what was typed) what this entry of the tab's history
// keeps. It is there again after a step back, a reload and a log-in.

// "#/job/KEY?L=3" → {path: 'job', rest: 'KEY', query}
export function route() {
	const [path, query] = location.hash.replace(/^#\/?/, '').split(/\?(.*)/s);
	const [first, ...rest] = path.split('/');
	return {path: first, rest: rest.map((part) => {
		try {
			return decodeURIComponent(part);
		} catch {
			return part;
		}
	}).join('/'), query: new URLSearchParams(query || '')};
}

// Changes what the address says of this page, without another page.
export function remember(query) {
	const {path, rest} = route();
	const text = new URLSearchParams(Object.entries(query).filter(([, value]) => value)).toString();
	history.replaceState(history.state, '', `#/${path}${rest ? `/${encodeURIComponent(rest)}` : ''}${text ? `?${text}` : ''}`);
}

// Of another user who had this tab before, nothing.
const who = () => sessionStorage.getItem('who');
export function kept() {
	return history.state && history.state.who === who() ? history.state : {};
}

let waiting = null, timer = 0;
export function keepNow() {
	clearTimeout(timer);
	if (waiting) history.replaceState({...kept(), ...waiting, who: who()}, '');
	waiting = null;
}
// Browsers allow an entry to be changed only so often: a moment later.
export function keep(values) {
	waiting = {...waiting, ...values};
	clearTimeout(timer);
	timer = setTimeout(keepNow, 250);
}
// What was to be kept was another entry's.
export function left() {
	clearTimeout(timer);
	waiting = null;
}
addEventListener('pagehide', keepNow);
addEventListener('click', keepNow, true); // which may lead elsewhere

// ---- what is written but not sent: for this tab, for whoever wrote it, until it is sent or they log out (see auth.js)

export function draft() {
	const found = JSON.parse(sessionStorage.getItem('draft') || 'null');
	return found && found.who === who() ? found : null;
}

export function keepDraft(values) {
	if (values) sessionStorage.setItem('draft', JSON.stringify({...values, who: who()}));
	else sessionStorage.removeItem('draft');
}
