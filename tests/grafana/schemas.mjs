// node schemas.mjs PACKAGE FILE...: what in these dashboards is not as PACKAGE's types have it, one JSON object a line.
// Grafana publishes the types of its files, not their JSON schema: it is made from the types, once, and kept beside them.
import fs from 'node:fs';
import Ajv from 'ajv';
import { createGenerator } from 'ts-json-schema-generator';

const [library, ...files] = process.argv.slice(2);
const types = `node_modules/${library}/dist/types`;
const kept = `schemas-${library.replaceAll('/', '-')}.json`;
const panel = (name) => `${types}/raw/composable/${name}/panelcfg/x/types.gen.d.ts`;
const PANELS = ['bargauge', 'stat', 'table', 'timeseries'];
const WITH_FIELDS = ['table', 'timeseries'];

function made(path, type) {
  return createGenerator({ path, type, skipTypeCheck: true, additionalProperties: false, tsconfig: 'tsconfig.json' }).createSchema(type);
}

function schemas() {
  if (fs.existsSync(kept)) return JSON.parse(fs.readFileSync(kept, 'utf8'));
  const all = { dashboard: made(`${types}/raw/dashboard/x/types.gen.d.ts`, 'Dashboard') };
  for (const name of PANELS) all[`${name} options`] = made(panel(name), 'Options');
  for (const name of WITH_FIELDS) all[`${name} fields`] = made(panel(name), 'FieldConfig');
  fs.writeFileSync(kept, JSON.stringify(all));
  return all;
}

const ajv = new Ajv({ strict: false, allErrors: true });
const checks = Object.fromEntries(Object.entries(schemas()).map(([name, schema]) => [name, ajv.compile(schema)]));

function tell(file, where, check, value) {
  if (check(value)) return;
  for (const { instancePath, message, params } of check.errors) console.log(JSON.stringify({ file, where, at: instancePath, message, params }));
}

for (const file of files) {
  const board = JSON.parse(fs.readFileSync(file, 'utf8'));
  tell(file, 'dashboard', checks.dashboard, board);
  for (const { type, title, options, fieldConfig } of board.panels) {
    if (!PANELS.includes(type)) console.log(JSON.stringify({ file, where: title, message: `no schema of ${type} is asked for` }));
    else tell(file, `${title}: options`, checks[`${type} options`], options);
    const fields = fieldConfig.defaults.custom;
    if (fields && WITH_FIELDS.includes(type)) tell(file, `${title}: fields`, checks[`${type} fields`], fields);
    else if (fields) console.log(JSON.stringify({ file, where: title, message: `${type} has no fields of its own` }));
  }
}
