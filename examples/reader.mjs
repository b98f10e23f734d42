// Print every accepted face: npm install redis; node reader.mjs redis://127.0.0.1:6379/0 n1
import { readFileSync } from 'node:fs';
import { createClient, RESP_TYPES } from 'redis';

const [url, consumer] = process.argv.slice(2);
const stream = 'facegate:faces', group = 'recognizers', handled = new Set();
const schema = JSON.parse(readFileSync(new URL('../docs/event.schema.json', import.meta.url)));
const rules = Object.fromEntries(schema.oneOf.map((kind) => [kind.title, kind.properties]));

function value(rule, bytes) {
  if (rule.contentMediaType) return bytes; // a JPEG file
  const text = bytes.toString();
  if (rule.type === 'boolean') return text === '1';
  if (rule.type === 'object') return JSON.parse(text);
  if (rule.type === 'integer' || rule.type === 'number') return Number(text);
  if (rule.type !== 'array') return text;
  const parts = text === '' ? [] : text.split(',');
  return rule.items.type === 'number' ? parts.map(Number) : parts;
}

function event(fields) {
  if (fields.schema?.toString() !== '1') throw new Error('another schema: update this reader');
  const known = rules[fields.type.toString()];
  return Object.fromEntries(Object.keys(known).filter((name) => name in fields)
    .map((name) => [name, value(known[name], fields[name])]));
}

async function handle(face) {
  console.log(face.camera, face.event_id, `quality ${face.quality.toFixed(0)}`, face.crop.length, 'bytes');
}

const client = createClient({ url, RESP: 2 });
client.on('error', (error) => console.error(error.message));
await client.connect();
const bytes = client.withTypeMapping({ [RESP_TYPES.BLOB_STRING]: Buffer });
await client.xGroupCreate(stream, group, '$', { MKSTREAM: true })
  .catch((error) => { if (!error.message.startsWith('BUSYGROUP')) throw error; });

async function work(entries) {
  for (const entry of entries.filter(Boolean)) {
    const face = event(entry.message);
    if (face.type === 'face' && !handled.has(face.event_id)) await handle(face);
    handled.add(face.event_id);
    if (handled.size > 10_000) handled.delete(handled.values().next().value);
    await client.xAck(stream, group, entry.id.toString()); // only now
  }
}

const mine = await bytes.xReadGroup(group, consumer, { key: stream, id: '0' }, { COUNT: 1000 });
await work(mine?.[0]?.messages ?? []); // what this consumer left when it died
for (;;) {
  const dead = await bytes.xAutoClaim(stream, group, consumer, 60_000, '0-0', { COUNT: 16 });
  await work(dead.messages); // what others left
  const fresh = await bytes.xReadGroup(group, consumer, { key: stream, id: '>' }, { COUNT: 16, BLOCK: 1000 });
  await work(fresh?.[0]?.messages ?? []);
}
