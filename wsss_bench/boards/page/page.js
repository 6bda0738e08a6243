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

const W = 760, H = 330, L = 40, B = 34;
const CURVES = [['miou', 'mIoU'], ['false_positive_rate', 'over-activation (FP share)'], ['false_negative_rate', 'under-activation (FN share)']];
function drawCurves() {
  const shown = visible().filter(row => row.curves.length), box = byId('curves');
  if (!shown.length) return box.replaceChildren(el('p', {class: 'empty'}, 'No seeds were scored for these rows.'));
  const pick = state.curve, top = Math.max(.1, ...shown.flatMap(row => row.curves.flatMap(c => c[pick].filter(known))));
  const grid = shown[0].curves[0].thresholds, last = grid[grid.length - 1], first = grid[0];
  const x = t => L + (W - L - 10) * (t - first) / (last - first || 1), y = v => H - B - (H - B - 12) * v / top;
  const parts = [];
  const step = [.01, .02, .05, .1, .2].find(s => top / s <= 6) || .2;
  for (let k = 0; k * step <= top + 1e-9; k += 1) parts.push(
    svg('line', {x1: L, x2: W - 10, y1: y(k * step), y2: y(k * step), class: 'axis'}),
    svg('text', {x: L - 7, y: y(k * step) + 4, 'text-anchor': 'end'}, pct(k * step, 0)));
  for (let k = 0; k <= 5; k += 1) {
    const t = first + (last - first) * k / 5;
    parts.push(svg('text', {x: x(t), y: H - B + 18, 'text-anchor': 'middle'}, t.toFixed(1)));
  }
  parts.push(svg('text', {x: (W + L) / 2, y: H - 1, 'text-anchor': 'middle'}, 'background threshold'));
  for (const row of shown) row.curves.forEach((curve, k) => {
    const points = curve.thresholds.map((t, i) => known(curve[pick][i]) ? x(t).toFixed(1) + ',' + y(curve[pick][i]).toFixed(1) : null);
    parts.push(svg('polyline', {points: points.filter(known).join(' '), fill: 'none', stroke: row.color, 'stroke-width': k ? 1.2 : 2.4,
      opacity: k ? .4 : 1, 'stroke-linejoin': 'round'}));
    const mark = (t, shape) => {
      const i = curve.thresholds.findIndex(v => Math.abs(v - t) < 1e-6);
      if (i >= 0 && !k && known(curve[pick][i])) parts.push(shape(x(t), y(curve[pick][i])));
    };
    mark(curve.oracle.threshold, (cx, cy) => svg('circle', {cx, cy, r: 4.6, fill: row.color}));
    if (known(curve.fixed)) mark(curve.fixed, (cx, cy) =>
      svg('rect', {x: cx - 4.5, y: cy - 4.5, width: 9, height: 9, fill: 'var(--card)', stroke: row.color, 'stroke-width': 2.2}));
  });
  const cross = svg('line', {y1: 8, y2: H - B, stroke: 'var(--soft)', 'stroke-dasharray': '3 3', visibility: 'hidden'});
  const readout = el('div', {class: 'readout'});
  const read = t => {
    readout.replaceChildren(el('div', {}, el('b', {}, known(t) ? 't = ' + t.toFixed(2) : '● oracle   □ fixed'), ''),
      ...shown.map(row => {
        const curve = row.curves[0], i = known(t) ? curve.thresholds.reduce((n, v, k) =>
          Math.abs(v - t) < Math.abs(curve.thresholds[n] - t) ? k : n, 0) : -1;
        const value = i >= 0 ? pct(curve[pick][i]) : pct(curve.oracle.miou) + ' @' + curve.oracle.threshold.toFixed(2);
        return el('div', {}, el('span', {}, dot(row), soft(row.method)), el('b', {}, value));
      }));
  };
  const plot = svg('svg', {viewBox: '0 0 ' + W + ' ' + H, width: '100%', role: 'img', 'aria-label': 'threshold curves'}, parts, cross);
  plot.addEventListener('mousemove', event => {
    const place = plot.getBoundingClientRect(), px = (event.clientX - place.left) * W / place.width;
    const t = Math.min(Math.max(first + (px - L) / (W - L - 10) * (last - first), first), last);
    cross.setAttribute('x1', x(t)); cross.setAttribute('x2', x(t)); cross.setAttribute('visibility', 'visible');
    read(Math.round(t * 100) / 100);
  });
  plot.addEventListener('mouseleave', () => { cross.setAttribute('visibility', 'hidden'); read(null); });
  read(null);
  const tabs = el('div', {class: 'chips'}, CURVES.map(([key, title]) => el('button', {'aria-pressed': String(pick === key), 'data-curve': key,
    onclick: () => { state.curve = key; drawCurves(); }}, title)));
  box.replaceChildren(tabs, el('div', {class: 'chart'}, el('div', {}, plot), readout));
}

const STEPS = [['seeds_fixed', 'seeds'], ['labels', 'labels'], ['val', 'val'], ['val_crf', 'CRF']];
function drawFalls() {
  const width = 270, height = 172, top = Math.max(.1, ...rows.flatMap(row => STEPS.map(([k]) => score(row, k)).filter(known))) * 1.12;
  const y = v => height - 24 - (height - 40) * v / top;
  byId('falls').replaceChildren(...visible().map(row => {
    const steps = STEPS.filter(([key]) => known(score(row, key))), room = width / Math.max(steps.length, 1);
    const parts = [svg('line', {x1: 0, x2: width, y1: y(0), y2: y(0), class: 'axis'})];
    steps.forEach(([key, title], k) => {
      const now = score(row, key), before = k ? score(row, steps[k - 1][0]) : 0, gain = now - before;
      const colour = !k ? row.color : gain >= 0 ? 'var(--up)' : 'var(--down)', left = k * room + 8, wide = room - 16;
      if (k) parts.push(svg('line', {x1: left - 16, x2: left, y1: y(before), y2: y(before), stroke: 'var(--soft)', 'stroke-dasharray': '2 2'}));
      parts.push(svg('rect', {x: left, width: wide, y: Math.min(y(now), y(before)), height: Math.max(Math.abs(y(now) - y(before)), 1.5),
        rx: 3, fill: colour, opacity: .85}),
      svg('text', {x: left + wide / 2, y: Math.min(y(now), y(before)) - 5, 'text-anchor': 'middle', class: 'label'},
        k ? (gain >= 0 ? '+' : '−') + Math.abs(100 * gain).toFixed(1) : pct(now)),
      svg('text', {x: left + wide / 2, y: height - 8, 'text-anchor': 'middle'}, title + (k ? ' ' + pct(now) : '')));
    });
    return el('figure', {}, el('figcaption', {}, dot(row), row.method),
      svg('svg', {viewBox: '0 0 ' + width + ' ' + height, width: '100%', role: 'img', 'aria-label': 'stages of ' + row.method}, parts));
  }));
}

function drawDifferences() {
  const box = byId('differences');
  if (state.klass === null) return box.replaceChildren(el('p', {class: 'empty'}, 'Click a class to see on which images the methods differ most.'));
  const shown = visible().filter(row => row.scores[D.metric]), cases = D.spread[state.klass] || [];
  const list = cases.map(([id, values]) => [el('div', {}, id), el('div', {class: 'bars'}, shown.map(row => {
    const value = values[row.index];
    return el('div', {title: row.method}, el('div', {class: 'bar', style: {width: (known(value) ? 1 + 70 * value : 1) + '%',
      background: row.color}}), el('span', {}, known(value) ? pct(value) : '–'));
  }))]);
  box.replaceChildren(el('h3', {style: {margin: 0, fontSize: '15px'}}, swatch(state.klass), D.classes[state.klass]),
    el('p', {class: 'sub', style: {margin: '2px 0 0'}}, 'IoU of this class within single images, widest spread first'),
    cases.length ? el('div', {class: 'diff'}, list) : el('p', {class: 'empty'}, 'The methods agree on this class in every image.'));
}

const MAPS = [['seeds', 'seeds'], ['labels', 'labels'], ['prediction', 'prediction']];
function drawGallery() {
  const box = byId('gallery');
  const shown = visible().filter(row => Object.keys(row.gallery).length);
  let cases = D.gallery.filter(item => shown.some(row => row.gallery[item.id]));
  if (!cases.length) {
    return box.replaceChildren(el('p', {class: 'empty'}, 'No pictures: photographs of this dataset are not ours to show, or the runs wrote none.'));
  }
  const spread = item => {
    const values = shown.map(row => item.iou[row.index] ? item.iou[row.index][state.klass] : null).filter(known);
    return values.length ? Math.max(...values) - Math.min(...values) + .001 * Math.max(...values) : -1;
  };
  if (state.klass !== null) cases = cases.filter(item => item.classes.includes(state.klass)).sort((a, b) => spread(b) - spread(a));
  const picture = (digest, title) => digest ? [el('img', {src: D.pictures[digest], alt: title, loading: 'lazy'}), el('small', {}, title)] : [];
  const blocks = cases.map(item => {
    const own = row => item.iou[row.index] && state.klass !== null ? item.iou[row.index][state.klass] : item.miou[row.index];
    const suffix = row => known(own(row)) ? ' ' + pct(own(row)) : '';
    const truth = el('div', {class: 'truth'}, el('div', {}, el('h4', {}, item.id), picture(item.image, 'image'), picture(item.truth, 'truth')));
    const maps = shown.filter(row => row.gallery[item.id]).map(row => el('div', {}, el('h4', {}, dot(row), soft(row.method)),
      MAPS.flatMap(([key, title]) => picture(row.gallery[item.id][key], key === 'prediction' ? title + suffix(row) : title))));
    return el('div', {class: 'case'}, truth, el('div', {class: 'maps'}, maps));
  });
  const note = state.klass === null ? [] : [el('p', {class: 'sub'}, swatch(state.klass), 'images with ' + D.classes[state.klass]
    + ', widest spread first ', el('button', {onclick: () => { state.klass = null; draw(); }}, 'show all'))];
  box.replaceChildren(...note, ...(blocks.length ? blocks : [el('p', {class: 'empty'}, 'None of the pictures shows this class.')]));
}

function draw() { drawBoard(); drawReported(); drawHeat(); drawDifferences(); drawCurves(); drawFalls(); drawGallery(); }
controls();
draw();
document.documentElement.dataset.ready = 'yes';
