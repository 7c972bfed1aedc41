// Elements from text, never from markup: whatever a user wrote stays text.

const SVG = 'http://www.w3.org/2000/svg';

function fill(node, attributes, children) {
	for (const [name, value] of Object.entries(attributes)) {
		if (value === null || value === undefined || value === false) continue;
		if (name.startsWith('on')) node.addEventListener(name.slice(2), value);
		else if (name === 'value') node.value = value;
		else node.setAttribute(name, value === true ? '' : value);
	}
	node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
	return node;
}

// h('a.name', {href: '#/', onclick: f}, 'text', node, …)
export function h(what, attributes, ...children) {
	const [tag, ...classes] = what.split('.');
	const node = document.createElement(tag || 'div');
	if (classes.length) node.className = classes.join(' ');
	const plain = attributes && attributes.constructor === Object;
	return fill(node, plain ? attributes : {}, plain ? children : [attributes, ...children]);
}

export function svg(tag, attributes = {}, ...children) {
	return fill(document.createElementNS(SVG, tag), attributes, children);
}

export function replace(node, ...children) {
	node.replaceChildren(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
	return node;
}

// By what an element is found again among those made anew.
function sameAs(element) {
	const of = (one) => one.dataset.is || one.id || one.getAttribute('name') || one.getAttribute('href') || one.getAttribute('aria-label') || one.textContent;
	return (other) => other.tagName === element.tagName && of(other) === of(element);
}

// To the page's heading: where the focus goes when what had it is gone.
export function focusHeading() {
	const heading = document.querySelector('main h1') || document.querySelector('main');
	if (!heading) return;
	heading.tabIndex = -1;
	heading.focus({preventScroll: true});
}

// The focus goes to the same element of what replaced `had`'s place, or to `otherwise`.
function refocus(had, within, otherwise) {
	if (!had || had.isConnected) return;
	const same = [...within.querySelectorAll(had.tagName)].find(sameAs(had));
	if (!same || same.disabled) return otherwise();
	if (had.hasAttribute('tabindex')) same.tabIndex = had.tabIndex;
	same.focus({preventScroll: true});
}

// As replace, for what is drawn again while it is used.
export function redraw(node, ...children) {
	const had = node.contains(document.activeElement) && document.activeElement !== node ? document.activeElement : null;
	replace(node, ...children);
	refocus(had, node, focusHeading);
	return node;
}

// Makes these the children of a node; those that stay are not touched, and so keep focus, selection and place.
export function arrange(node, wanted) {
	const stay = new Set(wanted);
	for (const child of [...node.children]) if (!stay.has(child)) child.remove();
	let at = node.firstChild;
	for (const child of wanted) {
		if (child === at) at = at.nextSibling;
		else node.insertBefore(child, at);
	}
}

// The children of a list, one an item and made anew only where its text has changed.
export class Items {
	constructor(node, make, lost = focusHeading) { // lost(): what had the focus is gone
		Object.assign(this, {node, make, lost, made: new Map()}); // key → {text, child}
	}

	child(key, item, text = JSON.stringify(item)) {
		const old = this.made.get(key);
		if (old && old.text === text) return old.child;
		const child = this.make(item);
		this.made.set(key, {text, child});
		if (old && old.child.isConnected) {
			const had = old.child.contains(document.activeElement) ? document.activeElement : null;
			old.child.replaceWith(child);
			refocus(had, child, focusHeading);
		}
		return child;
	}

	// items: [[key, item, text]…]; what is not among them goes.
	set(items) {
		const had = this.node.contains(document.activeElement) ? document.activeElement : null;
		arrange(this.node, items.map((item) => this.child(...item)));
		const keys = new Set(items.map(([key]) => key));
		for (const key of this.made.keys()) if (!keys.has(key)) this.made.delete(key);
		if (had && document.activeElement === document.body) this.lost();
	}
}

// To another site: only what is an address of the web; anything else is text.
export function outward(url, text = url) {
	return /^https?:\/\//i.test(url) ? h('a.outward', {href: url, rel: 'noreferrer noopener', target: '_blank'}, text) : h('span', text);
}

export function button(text, onclick, attributes = {}) {
	return h('button', {type: 'button', onclick, ...attributes}, text);
}

// A question; true where it was answered with `yes`.
export function ask(question, detail, yes, no) {
	return new Promise((resolve) => {
		const before = document.activeElement;
		const dialog = h('dialog', {'aria-labelledby': 'question'},
			h('h2', {id: 'question'}, question), h('p', detail),
			h('div.buttons', button(no, () => dialog.close()), button(yes, () => dialog.close('yes'), {class: 'primary', autofocus: true})));
		dialog.addEventListener('close', () => {
			dialog.remove();
			if (!before.isConnected) focusHeading();
			resolve(dialog.returnValue === 'yes');
		});
		document.body.append(dialog);
		dialog.showModal();
	});
}
