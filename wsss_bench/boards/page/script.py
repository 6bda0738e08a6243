"""Script of the page: state, filters, the sortable board and the heat map. `page_charts` draws the rest."""

# ruff: noqa: E501 - another language inside a string

from __future__ import annotations

JS = r"""
'use strict';
const D = JSON.parse(document.getElementById('data').textContent);
const PALETTE = ['#0b6e99', '#d9730d', '#2b8a5b', '#9065b0', '#c2413b', '#8a6d1f', '#3a5bbf', '#c14c8a', '#5c7a29', '#64748b'];
const KINDS = [['seeds_best', 'seeds, oracle t'], ['seeds_fixed', 'seeds, fixed t'], ['labels', 'labels'], ['val', 'val'],
  ['val_crf', 'val + CRF']];
const NAMES = Object.fromEntries(KINDS);
const rows = D.rows.map((row, index) => ({...row, index, color: PALETTE[index % PALETTE.length]}));
const state = {sort: null, up: false, filters: {}, text: '', reported: true, klass: null, curve: 'miou'};

function el(tag, attributes, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name.startsWith('on')) node.addEventListener(name.slice(2), value);
    else if (name === 'style') Object.assign(node.style, value);
    else if (value !== null && value !== false) node.setAttribute(name, value);
  }
  for (const child of children.flat(Infinity)) if (child !== null && child !== undefined && child !== '') node.append(child);
  return node;
}
function svg(tag, attributes, ...children) {
  const node = document.createElementNS('http://www.w3.org/2000/svg', tag);
  for (const [name, value] of Object.entries(attributes || {})) node.setAttribute(name, value);
  node.append(...children.flat());
  return node;
}
const known = value => value !== null && value !== undefined;
const pct = (value, digits = 1) => known(value) ? (100 * value).toFixed(digits) : '';
const score = (row, kind) => row.scores[kind] ? row.scores[kind].miou : null;
const soft = name => name.replaceAll('/', '/\u200b').replaceAll('_', '_\u200b');
const dot = row => el('span', {class: 'dot', style: {background: row.color}});
const byId = id => document.getElementById(id);

const FILTERS = [['supervision', 'supervision'], ['backbone', 'backbone'], ['segmentor', 'segmentor'], ['crf', 'CRF']];
function visible() {
  return rows.filter(row => FILTERS.every(([key]) => !state.filters[key] || String(row.columns[key]) === state.filters[key])
    && row.method.toLowerCase().includes(state.text));
}

function controls() {
  const box = byId('controls');
  box.append(el('label', {}, 'method', el('input', {type: 'search', id: 'search', placeholder: 'type to filter',
    oninput: event => { state.text = event.target.value.toLowerCase(); draw(); }})));
  for (const [key, title] of FILTERS) {
    const values = [...new Set(rows.map(row => String(row.columns[key])))].sort();
    const select = el('select', {id: 'filter-' + key, onchange: event => { state.filters[key] = event.target.value; draw(); }},
      el('option', {value: ''}, 'all'), values.map(value => el('option', {value}, value)));
    box.append(el('label', {}, title, select));
  }
  if (D.reported.length) {
    box.append(el('label', {class: 'tick'}, el('input', {type: 'checkbox', id: 'reported', checked: 'checked',
      onchange: event => { state.reported = event.target.checked; draw(); }}), 'reported elsewhere'));
  }
}

function whisker(row) {
  const all = rows.map(r => r.scores[D.metric]).filter(Boolean);
  const low = Math.min(...all.map(s => known(s.low) ? s.low : s.miou)), high = Math.max(...all.map(s => known(s.high) ? s.high : s.miou));
  const x = value => 6 + 118 * (value - low) / Math.max(high - low, 1e-9), own = row.scores[D.metric];
  if (!own) return '';
  const parts = [svg('line', {x1: 0, x2: 130, y1: 9, y2: 9, class: 'axis'})];
  if (known(own.low)) parts.push(svg('line', {x1: x(own.low), x2: x(own.high), y1: 9, y2: 9, stroke: row.color, 'stroke-width': 3,
    'stroke-linecap': 'round', opacity: .45}));
  parts.push(svg('circle', {cx: x(own.miou), cy: 9, r: 4.5, fill: row.color}));
  return svg('svg', {width: 130, height: 18, role: 'img', 'aria-label': 'interval ' + pct(own.low) + ' to ' + pct(own.high)}, parts);
}
function at(row, kind) {
  const own = row.scores[kind];
  if (!own) return '';
  const t = own.thresholds.length ? ' @' + [...new Set(own.thresholds.map(v => v.toFixed(2)))].join('/') : '';
  return [pct(own.miou), t ? el('small', {style: {color: 'var(--soft)'}}, t) : ''];
}
const COLUMNS = [
  ['method', 'method', row => row.method, row => [dot(row), row.method,
    row.origin === 'imported' ? el('span', {class: 'badge'}, 'imported') : '',
    row.single_seed && row.origin === 'measured' ? el('span', {class: 'badge', title: 'the interval covers images only'}, 'single seed') : '',
    el('small', {}, ['localize', 'refine', 'segment'].map(s => row.picks[s] || '–').join(' / '))], 'method'],
  ['seeds_best', 'seeds (oracle)', row => score(row, 'seeds_best'), row => at(row, 'seeds_best'), 'num'],
  ['seeds_fixed', 'seeds (fixed)', row => score(row, 'seeds_fixed'), row => at(row, 'seeds_fixed'), 'num'],
  ['labels', 'labels', row => score(row, 'labels'), row => pct(score(row, 'labels')), 'num'],
  ['coverage', 'coverage', row => row.scores.labels ? row.scores.labels.coverage : null,
    row => row.scores.labels ? pct(row.scores.labels.coverage) : '', 'num'],
  ['val', 'val', row => score(row, 'val'), row => pct(score(row, 'val')), 'num'],
  ['val_crf', 'val + CRF', row => score(row, 'val_crf'), row => pct(score(row, 'val_crf')), 'num'],
  ['interval', NAMES[D.metric] + ', 95 % interval', row => row.scores[D.metric] ? row.scores[D.metric].low : null, whisker, ''],
  ['ties', 'tie', row => row.ties, row => el('span', {class: 'tie'}, row.ties), ''],
  ...['supervision', 'extra_data', 'backbone', 'segmentor', 'pretraining', 'crf', 'multi_scale', 'rounds'].map(key =>
    [key, {extra_data: 'extra data', pretraining: 'pre-training', crf: 'CRF', multi_scale: 'multi-scale'}[key] || key,
      row => row.columns[key], row => String(known(row.columns[key]) ? row.columns[key] : ''), 'text']),
  ['seeds', 'seeds', row => row.seeds.length, row => String(row.seeds.length), 'num'],
  ['minutes', 'minutes', row => row.minutes.total, row => known(row.minutes.total) ? row.minutes.total.toFixed(1) + ' ' + row.device : '',
    'num'],
  ['peak', 'peak MB', row => row.peak_mb, row => known(row.peak_mb) ? row.peak_mb.toFixed(0) : '', 'num'],
].filter(([key]) => !(key in NAMES) || rows.some(row => row.scores[key]));
const FACTS = ['supervision', 'extra_data', 'backbone', 'segmentor', 'pretraining', 'crf', 'multi_scale', 'rounds'];
const SAME = FACTS.filter(key => rows.length > 1 && new Set(rows.map(row => String(row.columns[key]))).size === 1);
const SHOWN = COLUMNS.filter(([key]) => !SAME.includes(key));

function sorted(list) {
  const column = COLUMNS.find(([key]) => key === state.sort);
  if (!column) return list;
  const value = column[2], sign = state.up ? 1 : -1;
  return [...list].sort((a, b) => {
    const x = value(a), y = value(b);
    if (!known(x) || !known(y)) return known(y) - known(x);
    return sign * (typeof x === 'number' && typeof y === 'number' ? x - y : String(x).localeCompare(String(y)));
  });
}
function drawBoard() {
  byId('same').textContent = SAME.length
    ? 'The same for every row: ' + SAME.map(key => key.replace('_', ' ') + ' ' + rows[0].columns[key]).join(' · ') + '.' : '';
  const head = el('tr', {}, SHOWN.map(([key, title, , , kind]) => el('th',
    {class: kind === 'num' ? 'num' : '', 'aria-sort': state.sort === key ? (state.up ? 'ascending' : 'descending') : null},
    el('button', {'data-sort': key, onclick: () => {
      state.up = state.sort === key ? !state.up : kind === 'method' || kind === 'text';
      state.sort = key; draw();
    }}, title + (state.sort === key ? (state.up ? ' ↑' : ' ↓') : '')))));
  const body = el('tbody', {}, sorted(visible()).map(row => el('tr', {}, SHOWN.map(([key, , , cell, kind]) =>
    el('td', {class: kind + (key === D.metric ? ' lead-score' : '')}, cell(row))))));
  byId('board').replaceChildren(el('thead', {}, head), body);
}
function drawReported() {
  const box = byId('elsewhere');
  const list = state.reported ? D.reported.filter(entry => entry.method.toLowerCase().includes(state.text)
    && (!state.filters.supervision || entry.supervision === state.filters.supervision)
    && (!state.filters.backbone || entry.net === state.filters.backbone)) : [];
  if (!list.length) return box.replaceChildren();
  const cell = (entry, scored, split) => {
    const found = entry.values.filter(v => v.scored === scored && v.split === split);
    const title = found.map(v => v.miou + ': ' + v.sources.join('; ') + (v.notes.length ? ' (' + v.notes.join('; ') + ')' : '')).join('\n');
    const conflict = new Set(found.map(v => Number(v.miou))).size > 1;
    return el('span', {title}, conflict ? found.map(v => v.miou).join(' / ') : found.length ? found[0].miou : '',
      conflict ? el('span', {class: 'badge warn'}, 'conflict') : '');
  };
  const columns = [['method', '', e => e.method], ['venue', 'text', e => e.venue], ['network', 'text', e => e.net],
    ['supervision', 'text', e => e.supervision], ['extra data', 'text', e => e.extra_data], ['CRF', 'text', e => e.crf],
    ['seeds', 'num', e => cell(e, 'seeds', 'train')], ['labels', 'num', e => cell(e, 'labels', 'train')],
    ['val', 'num', e => cell(e, 'segmentation', 'val')], ['test', 'num', e => cell(e, 'segmentation', 'test')]];
  box.replaceChildren(el('h3', {}, 'Reported elsewhere'),
    el('p', {class: 'sub'}, 'Printed by papers and repositories, not measured here: evaluators, data and weights differ. '
      + 'Hover over a number for its sources; where they disagree, every value is shown.'),
    el('div', {class: 'scroll tall'}, el('table', {class: 'reported'},
      el('thead', {}, el('tr', {}, columns.map(([title, kind]) => el('th', {class: kind}, title)))),
      el('tbody', {}, list.map(entry => el('tr', {}, columns.map(([, kind, show]) => el('td', {class: kind}, show(entry)))))))));
}

const STOPS = [[247, 251, 255], [198, 219, 239], [107, 174, 214], [33, 113, 181], [8, 48, 107]];
function shade(value) {
  const place = Math.min(Math.max(value, 0), 1) * (STOPS.length - 1), k = Math.min(Math.floor(place), STOPS.length - 2), f = place - k;
  return STOPS[k].map((v, i) => Math.round(v + f * (STOPS[k + 1][i] - v)));
}
function heatCell(value) {
  if (!known(value)) return el('td', {title: 'in neither truth nor prediction'}, '–');
  const rgb = shade(value);
  const ink = rgb[0] * .3 + rgb[1] * .59 + rgb[2] * .11 > 140 ? '#14202b' : '#fff';
  return el('td', {style: {background: 'rgb(' + rgb.join(',') + ')', color: ink}}, pct(value));
}
function swatch(index) {
  return el('span', {class: 'swatch', style: {background: 'rgb(' + D.colours[index].join(',') + ')'}});
}
function drawHeat() {
  const shown = visible().filter(row => row.scores[D.metric]);
  const head = el('tr', {}, el('th'), shown.map(row => el('th', {}, dot(row), soft(row.method))));
  const body = D.classes.map((name, index) => el('tr', {class: state.klass === index ? 'on' : ''},
    el('th', {}, el('button', {'data-class': index, onclick: () => { state.klass = state.klass === index ? null : index; draw(); }},
      swatch(index), name)), shown.map(row => heatCell(row.scores[D.metric].per_class[index]))));
  const mean = el('tr', {class: 'mean'}, el('th', {}, 'mean'), shown.map(row => heatCell(row.scores[D.metric].miou)));
  byId('heat').replaceChildren(el('thead', {}, head), el('tbody', {}, body, mean));
}
"""
