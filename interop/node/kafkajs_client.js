// kafkajs, as installed from npm: the scenarios of interop/python/scenarios.py, by the same names.
// It has no consumer without a group, so reading makes a fresh group. Snappy, LZ4 and Zstandard are codecs that
// its users register themselves, here from three other packages.

'use strict'
const { Kafka, logLevel, CompressionTypes, CompressionCodecs, Partitioners, ConfigResourceTypes } = require('kafkajs')
const snappy = require('kafkajs-snappy')
const lz4 = require('lz4-napi')
const zstd = require('@bokuweb/zstd-wasm')

CompressionCodecs[CompressionTypes.Snappy] = snappy
CompressionCodecs[CompressionTypes.LZ4] = () => ({
  compress: encoder => lz4.compressFrame(encoder.buffer),
  decompress: buffer => lz4.decompressFrame(buffer),
})
CompressionCodecs[CompressionTypes.ZSTD] = () => ({
  compress: async encoder => Buffer.from(zstd.compress(encoder.buffer)),
  decompress: async buffer => Buffer.from(zstd.decompress(buffer)),
})

const argument = name => {
  const at = process.argv.indexOf('--' + name)
  return at < 0 ? undefined : process.argv[at + 1]
}
const PATIENCE = 40_000
const kafka = new Kafka({
  clientId: 'kafkajs',
  brokers: [argument('bootstrap')],
  logLevel: logLevel.NOTHING,
  retry: { initialRetryTime: 50, retries: 8 },
})
const admin = kafka.admin()
const sleep = ms => new Promise(done => setTimeout(done, ms))

let names = 0
const fresh = what => `kafkajs-${what}-${process.pid}-${++names}`

function check(condition, text) {
  if (!condition) throw new Error(text)
}

async function waitUntil(condition, what) {
  const deadline = Date.now() + PATIENCE
  while (!(await condition())) {
    check(Date.now() < deadline, `not within 40 s: ${typeof what === 'function' ? await what() : what}`)
    await sleep(50)
  }
}

async function topicOf(what, numPartitions = 1) {
  const topic = fresh(what)
  await admin.createTopics({ topics: [{ topic, numPartitions, replicationFactor: 1 }], waitForLeaders: true })
  return topic
}

const numbered = (count, prefix = 'value') =>
  Array.from({ length: count }, (_, i) => ({ key: `key-${i % 7}`, value: `${prefix}-${i}` }))

async function produce(topic, messages, { acks = -1, compression = CompressionTypes.None, idempotent = false } = {}) {
  const producer = kafka.producer({ createPartitioner: Partitioners.DefaultPartitioner, idempotent })
  await producer.connect()
  const placed = await producer.send({ topic, messages, acks, compression })
  await producer.disconnect()
  return placed
}

// A group member from the earliest offset; commits after each batch.
async function join(groupId, topic) {
  const consumer = kafka.consumer({ groupId, heartbeatInterval: 300, sessionTimeout: 10_000, rebalanceTimeout: 10_000, maxWaitTimeInMs: 200 })
  const member = { records: [], assigned: [], leave: () => consumer.disconnect() }
  consumer.on(consumer.events.GROUP_JOIN, event => { member.assigned = event.payload.memberAssignment[topic] ?? [] })
  consumer.on(consumer.events.REBALANCING, () => { member.assigned = [] })
  await consumer.connect()
  await consumer.subscribe({ topic, fromBeginning: true })
  await consumer.run({
    autoCommitThreshold: 1,
    eachMessage: async ({ partition, message }) => {
      member.records.push({
        partition, offset: Number(message.offset), key: message.key?.toString() ?? null,
        value: message.value === null ? null : message.value.toString(), headers: message.headers,
      })
    },
  })
  return member
}

async function read(topic, count) {
  const member = await join(fresh('reader'), topic)
  await waitUntil(() => member.records.length >= count, () => `${member.records.length} of ${count} records arrive`)
  await member.leave()
  return member.records
}

function byKey(records) {
  const lists = {}
  for (const { key, value } of records) (lists[key] ??= []).push(value)
  return JSON.stringify(Object.entries(lists).sort())
}

function same(sent, got) {
  check(got.length === sent.length, `sent ${sent.length} records, read ${got.length}`)
  check(byKey(got) === byKey(sent), 'what was read differs from what was sent, or its order does')
}

const compression = type => async () => {
  const topic = await topicOf('compression', 2)
  const sent = numbered(500, 'compressible '.repeat(20))
  await produce(topic, sent, { compression: type })
  same(sent, await read(topic, sent.length))
  return '500 records'
}

const settled = members => {
  const owned = members.flatMap(member => member.assigned)
  return owned.length === 6 && new Set(owned).size === 6 && members.every(member => member.assigned.length > 0)
}

async function groupRebalance() {
  const topic = await topicOf('group', 6)
  const group = fresh('members')
  const spread = prefix => Array.from({ length: 60 }, (_, i) => ({ key: 'k', value: `${prefix}-${i}`, partition: i % 6 }))
  await produce(topic, spread('first'))
  const members = [await join(group, topic), await join(group, topic)]
  const state = () => JSON.stringify(members.map(member => member.assigned))
  await waitUntil(() => settled(members), () => `two members share the partitions: ${state()}`)
  members.push(await join(group, topic))
  await waitUntil(() => settled(members), () => `a third member gets its share: ${state()}`)
  await produce(topic, spread('second'))
  const left = members.shift()
  await left.leave()
  await waitUntil(() => settled(members), () => `the others take over: ${state()}`)
  await produce(topic, spread('third'))
  const got = () => new Set([left, ...members].flatMap(member => member.records.map(record => record.value))).size
  await waitUntil(() => got() === 180, () => `${got()} of 180 records arrive`)
  for (const member of members) await member.leave()
  const resumed = await join(group, topic)
  await produce(topic, spread('fourth'))
  await waitUntil(() => resumed.records.length >= 60, 'a new member continues')
  await resumed.leave()
  check(resumed.records.length === 60 && resumed.records.every(r => r.value.startsWith('fourth')),
    `the new member did not continue at the committed offsets: it got ${resumed.records.length} records`)
  return '2 members, 3, then 2 again; every record; resumed at the committed offsets'
}

const earliest = async topic => Number((await admin.fetchTopicOffsets(topic))[0].low)
const partitionCount = async topic => (await admin.fetchTopicMetadata({ topics: [topic] })).topics[0].partitions.length
const config = async (topic, key) => {
  const { resources } = await admin.describeConfigs({ resources: [{ type: ConfigResourceTypes.TOPIC, name: topic, configNames: [key] }], includeSynonyms: false })
  return resources[0].configEntries.find(entry => entry.configName === key)?.configValue
}

const SCENARIOS = {
  async produce() {
    for (const acks of [-1, 1, 0]) {
      const topic = await topicOf('produce', 3)
      const sent = numbered(30)
      const placed = await produce(topic, sent, { acks })
      check(acks === 0 || placed.every(p => p.errorCode === 0 && p.baseOffset === '0'), `acknowledged as ${JSON.stringify(placed)}`)
      same(sent, await read(topic, sent.length))
    }
    return 'acks all, 1 and 0'
  },
  async consume() {
    const topic = await topicOf('consume', 3)
    const sent = [...numbered(300), { key: 'large', value: 'x'.repeat(200_000) }, { key: 'empty', value: '' }, { key: 'gone', value: null }]
    await produce(topic, sent)
    same(sent, await read(topic, sent.length))
    return `${sent.length} records, one of 200 kB, one empty, one tombstone`
  },
  async headers() {
    const topic = await topicOf('headers')
    await produce(topic, [{ key: 'k', value: 'v', headers: { trace: ['1', '2'], empty: '', text: 'grüße' } }])
    const [record] = await read(topic, 1)
    const { trace, empty, text } = record.headers
    check(String(trace) === '1,2' && String(empty) === '' && String(text) === 'grüße', `read ${JSON.stringify(record.headers)}`)
    return 'repeated key, empty value, UTF-8'
  },
  'compression-none': compression(CompressionTypes.None),
  'compression-gzip': compression(CompressionTypes.GZIP),
  'compression-snappy': compression(CompressionTypes.Snappy),
  'compression-lz4': compression(CompressionTypes.LZ4),
  'compression-zstd': compression(CompressionTypes.ZSTD),
  async idempotence() {
    const topic = await topicOf('idempotence', 2)
    const producer = kafka.producer({ createPartitioner: Partitioners.DefaultPartitioner, idempotent: true })
    await producer.connect()
    const sent = numbered(2000)
    for (let i = 0; i < sent.length; i += 100) await producer.send({ topic, messages: sent.slice(i, i + 100), acks: -1 })
    await producer.disconnect()
    same(sent, await read(topic, sent.length))
    return '2000 records, in order, none twice'
  },
  async transactions() {
    const topic = await topicOf('transactions')
    const groupId = fresh('copied')
    const committed = async () => (await admin.fetchOffsets({ groupId, topics: [topic] }))[0].partitions.map(p => p.offset).join()
    const transactionalId = fresh('txn')
    const producer = kafka.producer({ createPartitioner: Partitioners.DefaultPartitioner, idempotent: true, transactionalId, maxInFlightRequests: 1 })
    await producer.connect()
    for (const [number, name] of ['one', 'two', 'three'].entries()) {
      const transaction = await producer.transaction()
      await transaction.send({ topic, messages: numbered(30, name) })
      await transaction.sendOffsets({ consumerGroupId: groupId, topics: [{ topic, partitions: [{ partition: 0, offset: String(30 * number + 1) }] }] })
      if (name === 'two') {
        await transaction.abort()
        check(await committed() === '1', `after an abort the group is at ${await committed()}`)
      } else {
        await transaction.commit()
      }
    }
    await producer.disconnect()
    // kafkajs reads what is committed unless it is told otherwise.
    same([...numbered(30, 'one'), ...numbered(30, 'three')], await read(topic, 60))
    await waitUntil(async () => await committed() === '61', async () => `the group is at ${await committed()}`)
    return 'two committed, one aborted, offsets with them'
  },
  'group-rebalance': groupRebalance,
  async 'offsets-by-time'() {
    const topic = await topicOf('times')
    const base = Date.now() - 3_600_000
    await produce(topic, Array.from({ length: 10 }, (_, i) => ({ key: 'k', value: `v-${i}`, timestamp: String(base + i * 1000) })))
    // Where there is none, kafkajs answers with the end of the partition.
    const asked = [[base - 5000, 0], [base, 0], [base + 3500, 4], [base + 9000, 9], [base + 9001, 10]]
    for (const [timestamp, offset] of asked) {
      const [found] = await admin.fetchTopicOffsetsByTimestamp(topic, timestamp)
      check(Number(found.offset) === offset, `time ${timestamp}: offset ${found.offset}, not ${offset}`)
    }
    return `${asked.length} times`
  },
  async 'admin-topics'() {
    const topic = await topicOf('admin', 4)
    check((await admin.listTopics()).includes(topic), 'the topic is not listed')
    check((await partitionCount(topic)) === 4, 'created with 4 partitions, described with another number')
    const again = await admin.createTopics({ topics: [{ topic, numPartitions: 4 }] })
    check(again === false, 'a topic was created twice')
    return 'create, list, describe, refused when it exists'
  },
  async 'admin-configs'() {
    const topic = await topicOf('configs')
    const configEntries = [{ name: 'retention.ms', value: '86400000' }]
    await admin.alterConfigs({ validateOnly: false, resources: [{ type: ConfigResourceTypes.TOPIC, name: topic, configEntries }] })
    await waitUntil(async () => (await config(topic, 'retention.ms')) === '86400000', 'retention.ms is read back')
    return 'retention.ms altered and read back'
  },
  async 'admin-partitions'() {
    const topic = await topicOf('partitions', 2)
    await admin.createPartitions({ topicPartitions: [{ topic, count: 5 }] })
    await waitUntil(async () => (await partitionCount(topic)) === 5, '5 partitions are described')
    await produce(topic, [{ key: 'k', value: 'v', partition: 4 }])
    return '2 to 5, written to the last'
  },
  async 'admin-delete-records'() {
    const topic = await topicOf('truncate')
    await produce(topic, numbered(10))
    await earliest(topic) // it looks for the leader before it has asked about the topic
    await admin.deleteTopicRecords({ topic, partitions: [{ partition: 0, offset: '4' }] })
    await waitUntil(async () => (await earliest(topic)) === 4, 'the first offset is 4')
    check((await read(topic, 6))[0].offset === 4, 'reading from the start did not begin at 4')
    return 'first offset 4 after deleting before 4'
  },
  async 'admin-delete-topic'() {
    const topic = await topicOf('delete')
    await produce(topic, numbered(10))
    await admin.deleteTopics({ topics: [topic] })
    await waitUntil(async () => !(await admin.listTopics()).includes(topic), 'the topic is no longer listed')
    await admin.createTopics({ topics: [{ topic, numPartitions: 1 }], waitForLeaders: true })
    await produce(topic, numbered(1, 'again'))
    const [first] = await read(topic, 1)
    check(first.value === 'again-0' && first.offset === 0, `the new topic of the same name begins with ${JSON.stringify(first)}`)
    return 'deleted, then made again: empty'
  },
  async 'admin-groups'() {
    const topic = await topicOf('groups')
    const group = fresh('listed')
    await produce(topic, numbered(10))
    const member = await join(group, topic)
    await waitUntil(() => member.records.length === 10, 'ten records arrive')
    const listed = async () => (await admin.listGroups()).groups.some(({ groupId }) => groupId === group)
    check(await listed(), 'the group is not listed')
    await member.leave()
    const committed = async () => (await admin.fetchOffsets({ groupId: group, topics: [topic] }))[0].partitions[0].offset
    await waitUntil(async () => (await committed()) === '10', 'offset 10 is committed')
    await admin.deleteGroups([group])
    check(!(await listed()), 'the deleted group is still listed')
    return 'listed, offsets read, deleted'
  },
}

async function main() {
  const print = line => process.stdout.write(JSON.stringify(line) + '\n')
  print({ client: 'kafkajs', version: require('kafkajs/package.json').version })
  await zstd.init()
  await admin.connect()
  const only = argument('only')?.split(',')
  for (const [scenario, run] of Object.entries(SCENARIOS)) {
    if (only && !only.includes(scenario)) continue
    const start = Date.now()
    let line
    try {
      line = { scenario, ok: true, detail: await run() }
    } catch (error) {
      console.error(error)
      line = { scenario, ok: false, detail: `${error.name}: ${error.message}`.slice(0, 400) }
    }
    print({ ...line, seconds: (Date.now() - start) / 1000 })
  }
  process.exit(0)
}

main().catch(error => {
  console.error(error)
  process.exit(1)
})
