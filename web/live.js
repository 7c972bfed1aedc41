// What goes on while a page is shown.

const SHARE = 20; // of the time that an answer takes: who is slow is asked less often

// Calls again and again while the page is looked at; more seldom while that fails. Ends with the signal.
export function poll(signal, everyMs, work) {
	let timer = 0, busy = false, failed = 0;
	const run = async () => {
		clearTimeout(timer);
		if (signal.aborted || busy || document.hidden) return;
		busy = true;
		const begun = performance.now();
		try {
			await work();
			failed = 0;
		} catch (error) {
			if (signal.aborted) return;
			if (error.status === undefined) throw error;
			failed++;
		} finally {
			busy = false;
			if (!signal.aborted) timer = setTimeout(run, Math.min(Math.max(everyMs * 2 ** failed, (performance.now() - begun) * SHARE), 30000));
		}
	};
	document.addEventListener('visibilitychange', run, {signal});
	addEventListener('online', run, {signal});
	signal.addEventListener('abort', () => clearTimeout(timer));
	timer = setTimeout(run, everyMs);
	return run;
}

// A short word to whoever cannot see what has changed.
const voice = document.createElement('div');
voice.className = 'unseen';
voice.setAttribute('role', 'status');
document.body.append(voice);
export function say(text) {
	voice.textContent = text;
}

const icons = ['queued', 'running', 'finished', 'failed', 'cancelled'];
// The tab's picture says how the watched job stands.
export function tabIcon(status) {
	const name = status && icons.includes(status.toLowerCase()) ? status.toLowerCase() : 'trabajos';
	const icon = document.querySelector('link[rel=icon]');
	const address = new URL(`icon/${name}.svg`, import.meta.url).href;
	if (icon.href !== address) icon.href = address;
}
