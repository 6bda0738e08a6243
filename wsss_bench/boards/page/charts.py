"""Script of the page: threshold curves, stage waterfall, where methods differ, gallery."""

# ruff: noqa: E501 - another language inside a string

from __future__ import annotations

JS = r"""
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
"""
