// A list of any length: only the rows that are seen, and some around them, are elements. What is seen stays where it is when rows come
// or go above it.

import {Items} from './dom.js';

const AROUND = 800; // pixels beyond the window
const FIRST = 44; // a row's height until one was measured

export class Rows {
	constructor(node, make, signal) {
		Object.assign(this, {node, all: [], from: 0, to: 0, whole: false, here: null, highs: new Map()}); // all: the jobs, in order; here: the key of the row with the focus
		this.items = new Items(node, make, () => node.focus({preventScroll: true}));
		node.tabIndex = -1;
		node.addEventListener('focusin', (event) => {
			const row = event.target.closest('[data-key]');
			if (row) this.here = row.dataset.key;
		});
		addEventListener('scroll', () => this.soon(), {signal, passive: true});
		addEventListener('resize', () => this.soon(), {signal});
		const watch = new ResizeObserver(() => {
			if (node.clientWidth !== this.wide) this.highs.clear();
			this.wide = node.clientWidth;
			this.soon();
		});
		watch.observe(node);
		signal.addEventListener('abort', () => watch.disconnect());
	}

	// whole: there are no more than these
	set(all, whole) {
		Object.assign(this, {all, whole});
		this.draw();
	}

	has(key) {
		return this.all.some((job) => job.key === key);
	}

	soon() {
		this.due ||= requestAnimationFrame(() => {
			this.due = 0;
			this.draw();
		});
	}

	high(job) {
		return this.highs.get(job.key) ?? this.mean;
	}

	sum(from, to) {
		let sum = 0;
		for (let index = from; index < to; index++) sum += this.high(this.all[index]);
		return sum;
	}

	// The range that is to be seen from `top`, the list's upper edge as it lies in the window.
	range(top) {
		const {all} = this;
		let from = 0, at = top;
		while (from < all.length - 1 && at + this.high(all[from]) < -AROUND) at += this.high(all[from++]);
		let to = from;
		while (to < all.length && at < innerHeight + AROUND) at += this.high(all[to++]);
		return [from, to];
	}

	// The first row that is seen, and where.
	anchor() {
		const child = [...this.node.children].find((one) => one.getBoundingClientRect().bottom > 0);
		return child && {key: child.dataset.key, top: child.getBoundingClientRect().top};
	}

	element(key) {
		return this.node.querySelector(`[data-key="${CSS.escape(key)}"]`);
	}

	draw() {
		const {all, node} = this;
		const measured = [...this.highs.values()];
		this.mean = measured.length ? measured.reduce((sum, high) => sum + high, 0) / measured.length : FIRST;
		const {top} = node.getBoundingClientRect();
		const held = top < 0 ? this.anchor() : null;
		[this.from, this.to] = this.range(top);
		node.style.paddingTop = `${this.sum(0, this.from)}px`;
		node.style.paddingBottom = `${this.sum(this.to, all.length)}px`;
		this.items.set(all.slice(this.from, this.to).map((job) => [job.key, job]));
		[...node.children].forEach((child, index) => {
			child.setAttribute('aria-posinset', this.from + index + 1);
			child.setAttribute('aria-setsize', this.whole ? all.length : -1);
			this.highs.set(child.dataset.key, child.getBoundingClientRect().height);
		});
		const still = held && this.element(held.key);
		if (still) this.shift(still.getBoundingClientRect().top - held.top);
	}

	shift(by) {
		if (Math.abs(by) >= 1) scrollBy({top: by, behavior: 'instant'});
	}

	// Makes a row an element, at that distance from the window's upper edge, and answers it.
	show(index, at = innerHeight / 3) {
		const {key} = this.all[index];
		for (let tries = 0; tries < 3; tries++) { // until what lies above it is measured
			this.shift(this.node.getBoundingClientRect().top + this.sum(0, index) - at);
			this.draw();
			const row = this.element(key);
			if (row) this.shift(row.getBoundingClientRect().top - at);
		}
		return this.element(key);
	}

	// Gives the focus to the row that lies so many behind the one that has it, or had it when it was last an element; else to the first
	// that is seen.
	walk(step) {
		const find = (key) => this.all.findIndex((job) => job.key === key);
		const here = this.node.contains(document.activeElement) ? find(this.here) : -1;
		const index = here < 0 ? Math.max(0, find(this.anchor()?.key)) : here + step;
		if (index < 0 || index >= this.all.length) return;
		const row = this.element(this.all[index].key) || this.show(index);
		row.querySelector('a').focus();
	}
}
