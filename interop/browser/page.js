// What a person does on the pages, in headless Chromium: look, publish, follow a topic live, read the API's description.
// node page.js --base http://127.0.0.1:PORT --chromium PATH --shots FOLDER; prints a line for each claim, ends with 1 if one does not hold.

'use strict'
const { chromium } = require('playwright-core')

const argument = name => process.argv[process.argv.indexOf('--' + name) + 1]
const base = argument('base')
const shots = argument('shots')
const PATIENCE = 20_000

const switches = [
  '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync', '--disable-dev-shm-usage',
]

let failed = 0
async function claim(text, check) {
  try {
    await check()
    console.log(`ok      ${text}`)
  } catch (error) {
    failed += 1
    console.log(`FAILED  ${text}: ${error.message.split('\n')[0]}`)
  }
}

const expect = (condition, text) => {
  if (!condition) throw new Error(text)
}

async function main() {
  const browser = await chromium.launch({ executablePath: argument('chromium'), args: switches })
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, colorScheme: 'light' })
  const page = await context.newPage()
  page.setDefaultTimeout(PATIENCE)
  const complaints = []
  page.on('console', message => message.type() === 'error' && complaints.push(message.text()))
  page.on('pageerror', error => complaints.push(String(error)))
  const elsewhere = []
  page.on('request', request => request.url().startsWith(base) || request.url().startsWith('data:') || elsewhere.push(request.url()))

  await page.goto(base)
  await claim('the page shows topics and their records', async () => {
    await page.getByRole('heading', { name: 'Overview' }).waitFor()
    await page.locator('a[data-topic=orders]').first().waitFor()
  })
  await claim('a topic can be followed, and what is published on the page appears', async () => {
    await page.locator('#tail-topic').selectOption('orders')
    await page.locator('#follow').click()
    await page.locator('#tail-state.ok').waitFor()
    await page.locator('#publish-topic').selectOption('orders')
    await page.locator('[name=key]').fill('o-1')
    await page.locator('[name=value]').fill('{"id":9007199254740993,"note":"<b>bold</b>"}')
    await page.getByRole('button', { name: 'Publish' }).click()
    await page.locator('#said.ok').waitFor()
    const row = page.locator('#rows tr').first()
    await row.waitFor()
    const text = await row.innerText()
    expect(text.includes('9007199254740993'), `every digit is shown: ${text}`)
    expect(text.includes('<b>bold</b>'), `nothing becomes markup: ${text}`)
  })
  await page.screenshot({ path: `${shots}/page-light.png`, fullPage: true })
  await claim('a refusal is told on the page', async () => {
    await page.evaluate(() => document.getElementById('publish-topic').add(new Option('no such topic', 'no such topic', true, true)))
    await page.getByRole('button', { name: 'Publish' }).click()
    await page.locator('#said.bad').waitFor()
    complaints.length = 0 // the browser's own note of the 4xx
  })
  await claim('the page fits a narrow screen', async () => {
    await page.setViewportSize({ width: 390, height: 800 })
    const width = await page.evaluate(() => document.documentElement.scrollWidth)
    expect(width <= 390, `it is ${width} pixels wide`)
    await page.setViewportSize({ width: 1280, height: 900 })
  })
  await claim('it has a dark side', async () => {
    const colour = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor)
    const light = await colour()
    await page.emulateMedia({ colorScheme: 'dark' })
    expect((await colour()) !== light, 'the background stays the same')
    await page.screenshot({ path: `${shots}/page-dark.png`, fullPage: true })
  })
  await claim('the API is described at /docs, from this server alone', async () => {
    await page.goto(`${base}/docs`)
    await page.getByText('/v1/topics/{topic}/records').first().waitFor()
    await page.screenshot({ path: `${shots}/docs-dark.png` })
  })
  await claim('the pages ask nobody else', async () => expect(elsewhere.length === 0, elsewhere.join(', ')))
  await claim('the browser has nothing to complain about', async () => expect(complaints.length === 0, complaints.join(' · ')))
  await browser.close()
  process.exit(failed ? 1 : 0)
}

main().catch(error => {
  console.log(`FAILED  ${error.message}`)
  process.exit(1)
})
