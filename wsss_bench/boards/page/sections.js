'use strict';
// Part of the page where rows were scored on different images or masks, or a profile replaced a method's defaults. It adds to
// what page.js has drawn, and is left out elsewhere.
const FOREIGN = 'scored on other images or masks than most rows of the section: ';

function truthOf(section) {
  return Object.entries(section.truth).map(([role, named]) => 'truth of ' + role + ': ' + named.join(' and ')).join('; ');
}
function heading(section) {
  const note = section.number === 1 ? '' : 'not ranked against the main section';
  const words = [note, truthOf(section)].filter(Boolean).join('; ');
  return el('tr', {class: 'section'}, el('td', {colspan: SHOWN.length},
    el('b', {}, 'Scored on ' + section.scored_on), words ? el('small', {}, ' ' + words) : ''));
}
function badge(text, title) { return el('span', {class: 'badge warn', title}, text); }

// Lines stay in the order of the heading that was clicked, within their section.
function partLines() {
  const body = byId('board').tBodies[0], lines = [...body.rows], shown = sorted(visible());
  const parts = D.sections.map(section => [section, lines.filter((line, place) => shown[place].section === section.number)]);
  body.replaceChildren(...parts.flatMap(([section, own]) => own.length ? [heading(section), ...own] : []));
}
function markLines() {
  const lines = [...byId('board').tBodies[0].rows];
  sorted(visible()).forEach((row, place) => {
    for (const [column, [key]] of SHOWN.entries()) {
      const kind = key === 'coverage' ? 'labels' : key, own = row.scores[kind];
      if (own && own.elsewhere) lines[place].cells[column].append(badge('‡', FOREIGN + own.elsewhere));
    }
    if (!row.overridden) return;
    const changes = Object.entries(row.overridden).flatMap(([stage, values]) => Object.entries(values).map(
      ([name, [own, now]]) => stage + '.' + name + ': ' + own + ' → ' + now));
    const title = 'profile ' + row.profile + ' replaces ' + changes.join(', ');
    lines[place].cells[0].insertBefore(badge('defaults replaced', title), lines[place].cells[0].querySelector('small'));
  });
}
// Elsewhere on the page rows of all sections stand side by side: their names say to which they belong.
function sectionBadge(row) {
  if (!D.sections || row.section === 1) return '';
  const mark = badge('section ' + row.section, D.sections[row.section - 1].scored_on);
  // Unbroken, and on a line of its own where the name leaves no room.
  Object.assign(mark.style, {whiteSpace: 'nowrap', display: 'inline-block'});
  return mark;
}
function markClasses() {
  const heads = [...byId('heat').tHead.rows[0].cells].slice(1);
  visible().filter(row => row.scores[D.metric]).forEach((row, place) => heads[place].append(sectionBadge(row)));
}
function markStages() {
  const captions = [...byId('falls').querySelectorAll('figcaption')];
  visible().forEach((row, place) => {
    const foreign = STEPS.filter(([kind]) => row.scores[kind] && row.scores[kind].elsewhere);
    const marks = foreign.map(([kind, title]) => badge(title + ' ‡', FOREIGN + row.scores[kind].elsewhere));
    captions[place].append(sectionBadge(row), ...marks);
  });
}

const draws = [drawBoard, drawHeat, drawFalls];
drawBoard = () => { draws[0](); markLines(); if (D.sections) partLines(); };
drawHeat = () => { draws[1](); markClasses(); };
drawFalls = () => { draws[2](); markStages(); };
draw();
