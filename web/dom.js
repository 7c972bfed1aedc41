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

export function link(href, ...children) {
	return h('a', {href}, ...children);
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
		const dialog = h('dialog', {'aria-labelledby': 'question'},
			h('h2', {id: 'question'}, question), h('p', detail),
			h('div.buttons', button(no, () => dialog.close()), button(yes, () => dialog.close('yes'), {class: 'primary', autofocus: true})));
		dialog.addEventListener('close', () => {
			dialog.remove();
			resolve(dialog.returnValue === 'yes');
		});
		document.body.append(dialog);
		dialog.showModal();
	});
}
