// A small site, made and unmade with the provider's JavaScript SDK: node main.js API_URL API_KEY
const assert = require('node:assert')
const [baseUrl, apiKey] = process.argv.slice(2)
const cloud = require('@vultr/vultr-node').initialize({ apiKey, baseUrl })

// The SDK hands errors back as results.
const must = async (promise) => {
  const result = await promise
  if (result instanceof Error) throw result
  return result
}

const until = async (what, condition) => {
  const deadline = Date.now() + 60000
  while (!(await condition())) {
    assert(Date.now() < deadline, `not within a minute: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 200))
  }
}

const main = async () => {
  const { account } = await must(cloud.account.getAccountInfo())
  assert(account.acls.includes('dns'))
  const { os } = await must(cloud.operatingSystems.listImages({ per_page: '500' }))
  const system = os.find((one) => one.name === 'Debian 13 x64 (trixie)').id

  const { firewall_group: group } = await must(cloud.firewall.createGroup({ description: 'node' }))
  const { firewall_rule: rule } = await must(
    cloud.firewall.createRules({
      'firewall-group-id': group.id,
      ip_type: 'v6',
      protocol: 'TCP',
      subnet: '2001:db8::',
      subnet_size: '32',
      port: '22'
    })
  )
  assert.strictEqual(rule.id, 1)

  const made = []
  for (const name of ['node-1', 'node-2', 'node-3']) {
    const { instance } = await must(
      cloud.instances.createInstance({
        region: 'ams',
        plan: 'vc2-1c-1gb',
        os_id: String(system),
        label: name,
        hostname: name,
        tags: ['node'],
        firewall_group_id: group.id
      })
    )
    assert.strictEqual(instance.status, 'pending')
    made.push(instance.id)
  }
  for (const id of made) {
    await until('an active instance', async () => {
      const { instance } = await must(cloud.instances.getInstance({ 'instance-id': id }))
      return instance.status === 'active' && instance.server_status === 'ok'
    })
  }

  let listed = 0
  let cursor = ''
  do {
    const page = await must(cloud.instances.listInstances({ tag: 'node', per_page: '2', cursor }))
    listed += page.instances.length
    cursor = page.meta.links.next
  } while (cursor)
  assert.strictEqual(listed, 3)

  const first = { 'instance-id': made[0] }
  const { instance: changed } = await must(cloud.instances.updateInstance({ ...first, label: 'node-one' }))
  assert.strictEqual(changed.label, 'node-one')
  assert.match(String(await cloud.instances.updateInstance({ ...first, label: 'node-one' })), /Nothing to change/)
  const { vpcs } = await must(cloud.instances.listInstanceVpc2(first))
  assert.deepStrictEqual(vpcs, [])

  const { block } = await must(cloud.blockStorage.createStorage({ region: 'ams', size_gb: 10 }))
  await must(cloud.blockStorage.attachStorage({ 'block-id': block.id, instance_id: made[0], live: true }))
  const { block: attached } = await must(cloud.blockStorage.getStorage({ 'block-id': block.id }))
  assert.strictEqual(attached.attached_to_instance, made[0])

  const domain = { 'dns-domain': 'node.example.org' }
  await must(cloud.dns.createDomain({ domain: 'node.example.org', ip: '192.0.2.1' }))
  const { records } = await must(cloud.dns.listRecords(domain))
  assert(records.some((record) => record.type === 'A' && record.data === '192.0.2.1'))

  await must(cloud.instances.rebootInstance(first))
  await until('a rebooted instance', async () => {
    const { instance } = await must(cloud.instances.getInstance(first))
    return instance.server_status !== 'locked'
  })

  await must(cloud.blockStorage.detachStorage({ 'block-id': block.id, live: true }))
  await must(cloud.blockStorage.deleteStorage({ 'block-id': block.id }))
  await must(cloud.dns.deleteDomain(domain))
  for (const id of made) await must(cloud.instances.deleteInstance({ 'instance-id': id }))
  await must(cloud.firewall.deleteGroup({ 'firewall-group-id': group.id }))
  assert.match(String(await cloud.instances.getInstance(first)), /Invalid instance/)
  console.log('made and unmade')
}

main().catch((error) => {
  console.error(error)
  process.exit(1)
})
