// A dashboard drawn by Grafana's own components. What stands here is the little that Grafana's application adds:
// the defaults of each kind of panel, the frames of a Prometheus answer, the grid.
import React from 'react';
import { createRoot } from 'react-dom/client';
import * as data from '@grafana/data';
import * as ui from '@grafana/ui';
import { initDefaultI18nInstance } from './node_modules/@grafana/i18n/dist/esm/i18n.mjs';

const { board, mode } = window.SHOWN;
const theme = data.createTheme({ colors: { mode } });
const ROW = 38; // pixels of a row of the grid, with the gap
const GAP = 8;
const same = (value) => value;

const STANDARD = ['unit', 'min', 'max', 'decimals', 'displayName', 'noValue', 'thresholds', 'mappings', 'links', 'color', 'filterable'];
const COLOR = { timeseries: 'palette-classic' };
const CUSTOM = {
  timeseries: {
    drawStyle: 'line', lineInterpolation: 'linear', lineWidth: 1, fillOpacity: 0, gradientMode: 'none', spanNulls: false,
    insertNulls: false, showPoints: 'auto', pointSize: 5, stacking: { mode: 'none', group: 'A' }, axisPlacement: 'auto',
    axisLabel: '', axisColorMode: 'text', axisBorderShow: false, scaleDistribution: { type: 'linear' }, axisCenteredZero: false,
    hideFrom: { tooltip: false, viz: false, legend: false }, thresholdsStyle: { mode: 'off' }, axisSoftMin: undefined,
    axisSoftMax: undefined, lineStyle: undefined, barAlignment: 0, barWidthFactor: 0.6,
  },
  table: { align: 'auto', cellOptions: { type: 'auto' }, inspect: false, width: undefined, minWidth: undefined },
  stat: {},
  bargauge: {},
};

data.standardTransformersRegistry.setInit(() =>
  [...new Map(Object.values(data.standardTransformers).map((one) => [one.id, one])).values()].map((one) => ({
    id: one.id, aliasIds: one.aliasIds, name: one.name, transformation: one, description: '',
  })),
);

function registry(type) {
  const property = (id, path, more) => ({ id, path, name: id, process: same, shouldApply: () => true, ...more });
  return new data.Registry(() => [
    ...STANDARD.map((name) => property(name, name)),
    ...Object.keys(CUSTOM[type]).map((name) => property(`custom.${name}`, name, { isCustom: true })),
  ]);
}

function fieldConfig({ type, fieldConfig: { defaults, overrides } }) {
  const made = structuredClone(defaults);
  made.custom = { ...CUSTOM[type], ...made.custom };
  made.color ??= { mode: COLOR[type] ?? 'thresholds' };
  made.thresholds ??= { mode: 'absolute', steps: [{ value: null, color: 'green' }] };
  for (const step of made.thresholds.steps) step.value ??= -Infinity;
  return { defaults: made, overrides: overrides ?? [] };
}

function legend({ legendFormat, expr }, labels) {
  if (legendFormat === '__auto') return Object.keys(labels).length ? undefined : expr;
  return legendFormat.replace(/\{\{\s*(.+?)\s*\}\}/g, (_, label) => labels[label] ?? '');
}

function tableFrame(target, refId, series, many) {
  const labels = [...new Set(series.flatMap((one) => Object.keys(one.metric)))].sort();
  const newest = series.map((one) => one.values.at(-1));
  return data.toDataFrame({
    refId,
    fields: [
      { name: 'Time', type: 'time', values: newest.map(([at]) => at * 1000) },
      ...labels.map((name) => ({ name, type: 'string', values: series.map((one) => one.metric[name] ?? '') })),
      { name: many ? `Value #${refId}` : 'Value', type: 'number', values: newest.map(([, value]) => Number(value)) },
    ],
  });
}

const number = (text) => (text === '+Inf' ? Infinity : text === '-Inf' ? -Infinity : Number(text));

function frames(panel, answers, step) {
  return panel.targets.flatMap((target, place) => {
    const refId = target.refId || 'ABCDEFGHIJ'[place];
    if (target.format === 'table') return [tableFrame(target, refId, answers[place], panel.targets.length > 1)];
    return answers[place].map(({ metric, values }) =>
      data.toDataFrame({
        refId,
        fields: [
          { name: 'Time', type: 'time', config: { interval: target.instant ? undefined : step * 1000 }, values: values.map(([at]) => at * 1000) },
          { name: 'Value', type: 'number', labels: metric, config: { displayNameFromDS: legend(target, metric) }, values: values.map(([, one]) => number(one)) },
        ],
      }),
    );
  });
}

// As Grafana prepares graphs: lines are broken where a point is missing or is no number.
function withHoles(frame, step) {
  const [time, value] = frame.fields;
  const times = [];
  const values = [];
  time.values.forEach((at, place) => {
    if (place && at - times.at(-1) > 1500 * step) {
      times.push(times.at(-1) + 1000 * step);
      values.push(null);
    }
    times.push(at);
    values.push(Number.isFinite(value.values[place]) ? value.values[place] : null);
  });
  return { ...frame, length: times.length, fields: [{ ...time, values: times }, { ...value, values }] };
}

function Graph({ panel, shown, step, range, width, height }) {
  const drawn = shown.map((frame) => withHoles(frame, step));
  data.cacheFieldDisplayNames(drawn);
  return (
    <ui.TimeSeries frames={drawn} structureRev={1} timeRange={range} timeZone="utc" width={width} height={height}
      legend={panel.options.legend} options={panel.options} replaceVariables={same} />
  );
}

function Values({ panel, shown, range, width, height }) {
  const { options } = panel;
  const stat = panel.type === 'stat';
  const values = () =>
    data.getFieldDisplayValues({
      fieldConfig: fieldConfig(panel), reduceOptions: options.reduceOptions, replaceVariables: same, theme, data: shown,
      sparkline: stat && options.graphMode !== 'none', timeZone: 'utc',
    });
  const one = ({ value, count, alignmentFactors, ...size }) => {
    if (value.sparkline) value.sparkline.timeRange = range;
    return stat ? (
      <ui.BigValue value={value.display} count={count} sparkline={value.sparkline} colorMode={options.colorMode ?? 'value'}
        graphMode={options.graphMode ?? 'area'} justifyMode={options.justifyMode ?? 'auto'}
        textMode={(options.textMode ?? 'auto') === 'auto' && count === 1 ? 'value' : options.textMode}
        alignmentFactors={alignmentFactors} theme={theme} width={size.width} height={size.height} />
    ) : (
      <ui.BarGauge value={value.display} field={value.field} text={options.text} theme={theme} itemSpacing={10}
        display={value.view?.getFieldDisplayProcessor(value.colIndex)} displayMode={options.displayMode} orientation={size.orientation}
        alignmentFactors={count > 1 ? alignmentFactors : undefined} showUnfilled={options.showUnfilled !== false}
        valueDisplayMode={options.valueMode} namePlacement={options.namePlacement ?? 'auto'} width={size.width} height={size.height} />
    );
  };
  return (
    <ui.VizRepeater getValues={values} source={shown} renderCounter={0} width={width} height={height} autoGrid={stat}
      itemSpacing={stat ? 3 : 10} orientation={options.orientation ?? 'auto'} minVizWidth={options.minVizWidth ?? 8}
      minVizHeight={options.minVizHeight ?? 16} maxVizHeight={options.maxVizHeight ?? 300}
      getAlignmentFactors={data.getDisplayValueAlignmentFactors} renderValue={one} />
  );
}

function Rows({ panel, shown, range, width, height }) {
  return (
    <ui.Table data={shown[0]} width={width} height={height} noHeader={false} resizable initialSortBy={panel.options.sortBy}
      cellHeight={panel.options.cellHeight} timeRange={range} />
  );
}

const KINDS = { timeseries: Graph, stat: Values, bargauge: Values, table: Rows };

function Panel({ panel, answers, step, width, height }) {
  const [shown, show] = React.useState(null);
  const [from, to] = board.range.map((at) => data.dateTime(at * 1000));
  React.useEffect(() => {
    const answered = data.transformDataFrame(panel.transformations ?? [], frames(panel, answers, step));
    const listening = answered.subscribe((made) => {
      show(
        data.applyFieldOverrides({
          data: made, fieldConfig: fieldConfig(panel), fieldConfigRegistry: registry(panel.type), replaceVariables: same, theme, timeZone: 'utc',
        }),
      );
    });
    return () => listening.unsubscribe();
  }, []);
  if (!shown) return null;
  if (!shown.some((frame) => frame.length)) return <div className="no-data" style={{ width, height, display: 'grid', placeItems: 'center' }}>No data</div>;
  const Kind = KINDS[panel.type];
  return <Kind panel={panel} shown={shown} step={step} range={{ from, to, raw: { from, to } }} width={width} height={height} />;
}

class Caught extends React.Component {
  state = {};

  static getDerivedStateFromError(error) {
    console.error(error);
    return { error };
  }

  render() {
    return this.state.error ? <pre>{String(this.state.error.stack)}</pre> : this.props.children;
  }
}

function Board() {
  const column = (window.innerWidth - GAP) / 24;
  const rows = Math.max(...board.panels.map(({ panel: { gridPos } }) => gridPos.y + gridPos.h));
  return (
    <div id="board" style={{ position: 'relative', height: rows * ROW + GAP, background: theme.colors.background.canvas }}>
      {board.panels.map(({ panel, answers, step }) => {
        const { x, y, w, h } = panel.gridPos;
        const [width, height] = [w * column - GAP, h * ROW - GAP];
        return (
          <section key={panel.title} aria-label={panel.title} style={{ position: 'absolute', left: x * column + GAP, top: y * ROW + GAP, width, height }}>
            <ui.PanelChrome width={width} height={height} title={panel.title} description={panel.description} padding={panel.type === 'table' ? 'none' : 'md'}>
              {(innerWidth, innerHeight) => (
                <Caught>
                  <Panel panel={panel} answers={answers} step={step} width={innerWidth} height={innerHeight} />
                </Caught>
              )}
            </ui.PanelChrome>
          </section>
        );
      })}
    </div>
  );
}

initDefaultI18nInstance().then(() => {
  createRoot(document.getElementById('root')).render(
    <data.ThemeContext.Provider value={theme}>
      <ui.GlobalStyles />
      <Board />
    </data.ThemeContext.Provider>,
  );
});
